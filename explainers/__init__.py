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
from explainers.model import Model
from explainers.progress import Progress
from explainers.registry import EXPLAINERS
from explainers.schema import Feature, Relation, Schema
from explainers.settings import Range, Setting, settings_of
from explainers.version import VERSION as __version__

__all__ = [
    "EXPLAINERS",
    "ROLES",
    "Attribution",
    "Cancelled",
    "Counterfactuals",
    "Dataset",
    "Effect",
    "Explainer",
    "ExplainerError",
    "Explanation",
    "Feature",
    "Importance",
    "InvalidSetting",
    "Model",
    "ModelFailure",
    "NotApplicable",
    "OutOfMemory",
    "Problem",
    "Progress",
    "Range",
    "Reference",
    "Relation",
    "Request",
    "Schema",
    "SchemaMismatch",
    "Setting",
    "UnreadableFile",
    "UnsupportedModel",
    "__version__",
    "applicable",
    "explain",
    "settings_of",
    "why_not",
]
