"""explainers: why a trained model predicts what it predicts. See `explain`."""

from __future__ import annotations

from explainers.converting import Conversion, convert, runs_code
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
from explainers.explainer import Contrast, Explainer, Problem, why_not
from explainers.explaining import Provenance, Request, applicable, cost, explain
from explainers.explanation import (
    Attribution,
    Counterfactuals,
    Effect,
    Explanation,
    Importance,
    Interaction,
    PairAttribution,
    Reference,
    Visualizations,
)
from explainers.loading import align, guess_role, guess_target, load_dataset, load_frame, load_model
from explainers.loading.limits import Limits
from explainers.loading.policy import FORMATS, Format
from explainers.model import Model
from explainers.performance import Estimate, Performance, calibration_near, performance
from explainers.plausibility import Plausibility
from explainers.preparation import Preparation
from explainers.progress import Progress
from explainers.quality.curves import Curve, Faithfulness
from explainers.quality.faithfulness import faithfulness
from explainers.quality.randomisation import Randomisation, randomisation_check
from explainers.quality.regions import RegionShare, region_share
from explainers.registry import *  # noqa: F403  # every registered explainer is public, and named in one place
from explainers.registry import __all__ as _registered
from explainers.sampling.groups import correlated_groups
from explainers.schema import Feature, Relation, Schema
from explainers.settings import Range, Setting, settings_of
from explainers.summary import mean_absolute
from explainers.trees import warm as tree_loops
from explainers.version import __version__

__all__ = [
    "FORMATS",
    "ROLES",
    "Attribution",
    "Cancelled",
    "Contrast",
    "Conversion",
    "Counterfactuals",
    "Curve",
    "Dataset",
    "Effect",
    "Estimate",
    "Explainer",
    "ExplainerError",
    "Explanation",
    "Faithfulness",
    "Feature",
    "Format",
    "Importance",
    "Interaction",
    "InvalidSetting",
    "Limits",
    "Model",
    "ModelFailure",
    "NotApplicable",
    "OutOfMemory",
    "PairAttribution",
    "Performance",
    "Plausibility",
    "Preparation",
    "Problem",
    "Progress",
    "Provenance",
    "Randomisation",
    "Range",
    "Reference",
    "RegionShare",
    "Relation",
    "Request",
    "Schema",
    "SchemaMismatch",
    "Setting",
    "UnreadableFile",
    "UnsupportedModel",
    "Visualizations",
    "__version__",
    "align",
    "applicable",
    "calibration_near",
    "convert",
    "correlated_groups",
    "cost",
    "explain",
    "faithfulness",
    "guess_role",
    "guess_target",
    "load_dataset",
    "load_frame",
    "load_model",
    "mean_absolute",
    "performance",
    "randomisation_check",
    "region_share",
    "runs_code",
    "settings_of",
    "tree_loops",
    "why_not",
]
__all__ += _registered
