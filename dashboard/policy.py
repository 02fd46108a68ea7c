"""Which explainer answers which question here: the defaults of the pages, in one place.

The pages speak of probabilities first, since people do; only where a person asks for the raw score, or the model
has no probability, do they show it.
"""

from __future__ import annotations

from collections.abc import Callable

import explainers as ex

#: Why an explainer does not apply to the model and data looked at; ``None`` where it does.
Refused = Callable[[type[ex.Explainer]], str | None]

#: Reference cases that every attribution on a page is compared with.
BACKGROUND = 100

#: Coalitions for one case while a slider moves: exact up to eight features, sampled with error bars beyond.
LIVE_BUDGET = 256

#: Coalitions for one case once nothing moves; the first answer from fewer is there meanwhile.
CASE_BUDGET = 1024

#: Seconds that a page may wait for an answer before it is painted; what takes longer comes piece by piece.
MOMENT = 0.3

#: Seconds from which a global picture comes in parts, and that the first look at what accuracy needs may take.
IN_PARTS, FIRST_LOOK = 5.0, 0.4

#: Features up to which Shapley values are estimated from coalitions; more cost minutes for one case.
MOST_FEATURES = 400

#: Features that get a slider: the most important ones of the case.
SLIDERS = 60

#: Classes that a picture is made for, and seconds up to which pictures are made again with every change of what they are for.
MOST_MADE, QUICKLY_MADE = 12, 3.0

#: Cases in a global picture: first a few for a quick answer, then enough for one that holds.
FIRST_CASES = 40
MOST_CASES = 200

#: The same for trees small enough for tables, which explain so many in a few hundred milliseconds.
MOST_TREE_CASES = 10_000


def local_attribution(
    model: ex.Model, data: ex.Dataset, refused: Refused, space: str = "auto", *, live: bool = False
) -> ex.Explainer:
    """Shapley values of one case: exact from the trees where the scale allows it, else from coalitions; from fewer where `live`."""
    trees = refused(ex.TreeShap) is None
    if trees:
        if space != "raw" and model.space == "probability":
            return ex.TreeShap(background=BACKGROUND, space="probability")
        return ex.TreeShap(background=BACKGROUND)
    features = len(data.schema.features)
    if features > MOST_FEATURES:
        raise ex.NotApplicable(
            f"These data have {features:,} features; for this model ({model.family}) Shapley values of more than "
            f"{MOST_FEATURES} would take minutes for each case. Choose fewer features, or a tree model."
        )
    few = live or 2**features <= LIVE_BUDGET
    budget = max(LIVE_BUDGET if few else CASE_BUDGET, 4 * features + 2)
    if space == "raw" and "raw" in model.abilities:
        return ex.KernelShap(background=BACKGROUND, budget=budget, space="raw")
    return ex.KernelShap(background=BACKGROUND, budget=budget)


def global_attribution(
    model: ex.Model, data: ex.Dataset, refused: Refused, space: str = "auto"
) -> ex.Explainer:
    """Shapley values of many cases, with fewer coalitions than for one where there are many features.

    Those of trees are exact, so they are on the scale on which the trees add up, whatever `space` is chosen: the raw score
    of boosted classifiers, else the prediction. What other reference cases would change is left to the single case.
    """
    if refused(ex.TreeShap) is None:
        return ex.TreeShap(background=BACKGROUND, background_errors=False)
    local_attribution(model, data, refused, space)  # says where there are too many features
    features = len(data.schema.features)
    budget = 2**features if features <= 7 else max(128, 4 * features + 2)
    return ex.KernelShap(
        background=50, budget=budget, space="raw" if space == "raw" and "raw" in model.abilities else "auto"
    )


def global_cases(explainer: ex.Explainer, best: ex.Attribution | None) -> int:
    """How many cases to explain, given the best answer so far: a few for a quick one, then enough for one that holds."""
    if best is None:
        return FIRST_CASES
    tables = str(best.diagnostics.get("kernel", "")).startswith("tables")
    return MOST_TREE_CASES if isinstance(explainer, ex.TreeShap) and tables else MOST_CASES


def surrogate() -> ex.Explainer:
    """LIME at its usual size."""
    return ex.Lime()


def case_curves(features: tuple[str, ...] = ()) -> ex.Explainer:
    """The case's own curve under each slider: evenly spaced, so that the slider can read it off."""
    return ex.PartialDependence(features=features, grid=25, spacing="linear", cases=1)


def effects(feature: str) -> ex.Explainer:
    """The effect of one feature over many cases."""
    return ex.PartialDependence(features=(feature,), grid=30, cases=MOST_CASES)


def picture_methods(refused: Refused) -> tuple[ex.Explainer, ...]:
    """The explainers of pictures that apply to the model, in the order in which they are shown."""
    offered = (ex.GradCam(), ex.IntegratedGradients(), ex.Saliency(), ex.Occlusion())
    return tuple(method for method in offered if refused(type(method)) is None)


def picture_choices(refused: Refused) -> tuple[ex.Explainer, ...]:
    """Every explainer that gives a map of one picture and applies to the model: those shown first, then the others."""
    first = picture_methods(refused)
    known = {type(method) for method in first}
    others = [kind for kind in PICTURE_KINDS if kind not in known and refused(kind) is None]
    return (*first, *(kind() for kind in others))


def visualization(layer: str = "", channel: int = 0, seed: int = 0) -> ex.FeatureVisualization:
    """Pictures made for classes, or for a channel where a layer is named."""
    if not layer:
        return ex.FeatureVisualization(seed=seed)
    return ex.FeatureVisualization(layer=layer, channel=channel, seed=seed)


#: The kinds of explainers that give a map of one picture.
PICTURE_KINDS: tuple[type[ex.Explainer], ...] = tuple(
    kind
    for kind in ex.EXPLAINERS
    if kind.scope == "case" and "image" in kind.modalities and kind.returns is ex.Attribution
)
