"""Every explainer, in the order in which they are offered. To add one: its file, and its import and its name here."""

from __future__ import annotations

from explainers.explainer import Explainer
from explainers.methods.accumulated_local_effects import AccumulatedLocalEffects
from explainers.methods.attention_rollout import AttentionRollout
from explainers.methods.counterfactual import Counterfactual
from explainers.methods.deep_lift import DeepLift
from explainers.methods.exact_shap import ExactShap
from explainers.methods.expected_gradients import ExpectedGradients
from explainers.methods.feature_visualization import FeatureVisualization
from explainers.methods.grad_cam import GradCam
from explainers.methods.guided_backprop import GuidedBackprop
from explainers.methods.input_x_gradient import InputXGradient
from explainers.methods.integrated_gradients import IntegratedGradients
from explainers.methods.interaction_strength import InteractionStrength
from explainers.methods.kernel_shap import KernelShap
from explainers.methods.layer_relevance_propagation import LayerRelevancePropagation
from explainers.methods.lime import Lime
from explainers.methods.occlusion import Occlusion
from explainers.methods.partial_dependence import PartialDependence
from explainers.methods.permutation_importance import PermutationImportance
from explainers.methods.permutation_shap import PermutationShap
from explainers.methods.rise import Rise
from explainers.methods.saliency import Saliency
from explainers.methods.sensitivity import Sensitivity
from explainers.methods.smooth_grad import SmoothGrad
from explainers.methods.tree_shap import TreeShap
from explainers.methods.tree_shap_interactions import TreeShapInteractions

__all__ = [
    "EXPLAINERS",
    "AccumulatedLocalEffects",
    "AttentionRollout",
    "Counterfactual",
    "DeepLift",
    "ExactShap",
    "ExpectedGradients",
    "FeatureVisualization",
    "GradCam",
    "GuidedBackprop",
    "InputXGradient",
    "IntegratedGradients",
    "InteractionStrength",
    "KernelShap",
    "LayerRelevancePropagation",
    "Lime",
    "Occlusion",
    "PartialDependence",
    "PermutationImportance",
    "PermutationShap",
    "Rise",
    "Saliency",
    "Sensitivity",
    "SmoothGrad",
    "TreeShap",
    "TreeShapInteractions",
]

EXPLAINERS: tuple[type[Explainer], ...] = (
    TreeShap,
    KernelShap,
    ExactShap,
    PermutationShap,
    Lime,
    Saliency,
    InputXGradient,
    SmoothGrad,
    IntegratedGradients,
    ExpectedGradients,
    DeepLift,
    GuidedBackprop,
    GradCam,
    LayerRelevancePropagation,
    AttentionRollout,
    Occlusion,
    Rise,
    PermutationImportance,
    PartialDependence,
    AccumulatedLocalEffects,
    InteractionStrength,
    Sensitivity,
    TreeShapInteractions,
    Counterfactual,
    FeatureVisualization,
)
