"""explainers: why a trained model predicts what it predicts. See `explain`."""

from __future__ import annotations

from explainers.dataset import ROLES, Dataset
from explainers.errors import (
    Cancelled,
    ExplainerError,
    InvalidSetting,
    ModelFailure,
    NotApplicable,
    OutOfMemory,
    SchemaMismatch,
    UnreadableFile,
    UnsupportedModel,
)
from explainers.explainer import Explainer, Problem, why_not
from explainers.explaining import Request, applicable, explain
from explainers.explanation import Attribution, Counterfactuals, Effect, Explanation, Importance, Reference
from explainers.loading import align, guess_role, guess_target, load_dataset, load_frame, load_model
from explainers.methods.counterfactual import Counterfactual
from explainers.methods.grad_cam import GradCam
from explainers.methods.integrated_gradients import IntegratedGradients
from explainers.methods.kernel_shap import KernelShap
from explainers.methods.lime import Lime
from explainers.methods.occlusion import Occlusion
from explainers.methods.partial_dependence import PartialDependence
from explainers.methods.permutation_importance import PermutationImportance
from explainers.methods.saliency import Saliency
from explainers.methods.tree_shap import TreeShap
from explainers.model import Model
from explainers.performance import Estimate, Performance, calibration_near, performance
from explainers.plausibility import Plausibility
from explainers.progress import Progress
from explainers.registry import EXPLAINERS
from explainers.sampling.groups import correlated_groups
from explainers.schema import Feature, Relation, Schema
from explainers.settings import Range, Setting, settings_of
from explainers.summary import mean_absolute
from explainers.version import __version__

__all__ = [
    "EXPLAINERS",
    "ROLES",
    "Attribution",
    "Cancelled",
    "Counterfactual",
    "Counterfactuals",
    "Dataset",
    "Effect",
    "Estimate",
    "Explainer",
    "ExplainerError",
    "Explanation",
    "Feature",
    "GradCam",
    "Importance",
    "IntegratedGradients",
    "InvalidSetting",
    "KernelShap",
    "Lime",
    "Model",
    "ModelFailure",
    "NotApplicable",
    "Occlusion",
    "OutOfMemory",
    "PartialDependence",
    "Performance",
    "PermutationImportance",
    "Plausibility",
    "Problem",
    "Progress",
    "Range",
    "Reference",
    "Relation",
    "Request",
    "Saliency",
    "Schema",
    "SchemaMismatch",
    "Setting",
    "TreeShap",
    "UnreadableFile",
    "UnsupportedModel",
    "__version__",
    "align",
    "applicable",
    "calibration_near",
    "correlated_groups",
    "explain",
    "guess_role",
    "guess_target",
    "load_dataset",
    "load_frame",
    "load_model",
    "mean_absolute",
    "performance",
    "settings_of",
    "why_not",
]
