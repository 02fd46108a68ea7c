"""Feature visualisation: a picture made so that one output, channel or neuron responds as much as it can.

    x* = argmax_x  a(x) / σ  -  what speaks against x,      low ≤ x ≤ high, channel by channel, as in the data

where a is the score of an output, the mean of a layer's channel, or that channel at one position, and σ the standard deviation of
a over real pictures. In `explainers.gradients.ascent`: `climb` has the penalties, the random moves that the picture must stand and
the steps uphill, `pictures` the work on all units, `real` the pictures beside them, `picture_space` the two ways of writing a picture
(pixels, or a Fourier basis of decorrelated frequencies and colours).

The picture shows what drives the unit, not what it sees in practice: nothing keeps it near the data but its range. So beside it
stand the real pictures with the highest response (`Visualizations.examples`); where one of those drives the unit further, a note
says so. The ascent finds a hill, not the highest one; `samples` starts show whether there are several. Scores are taken before a
softmax or sigmoid where that can be had, since behind it the slope vanishes and a picture may win by lowering other classes.

Units: with a `layer` (or a `channel`, of the last convolution) the channel, or all of them; else the target's output. Without a
target that is the only one, the positive one of two classes, or each class that is predicted for some case. Channels have no target.

Cost: `samples` · `steps` + 1 forward and backward passes per unit, and one forward pass for each of up to `candidates` real
pictures. Erhan et al. 2009 (activation maximisation); Mahendran and Vedaldi 2015 (total variation, jitter); Olah, Mordvintsev and
Schubert 2017 (transformations, Fourier basis, diversity; theirs compares Gram matrices of features, here it is the pictures).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Explanation, Visualizations
from explainers.gradients.ascent.climb import Regularisers
from explainers.gradients.ascent.pictures import Ascent
from explainers.gradients.ascent.units import Units, channel_units
from explainers.gradients.inputs import module_inputs
from explainers.gradients.scores import differentiable
from explainers.lazily import lazily
from explainers.progress import Progress
from explainers.sampling.steps import in_rounds
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace, Seed

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

Weight = Annotated[float | int, Range(0.0, 1e6)]


@dataclass(frozen=True)
class FeatureVisualization(Explainer):
    """Pictures ``(k, samples, c, h, w)`` that `k` units respond to most; see the module's docstring.

    `total_variation`, `l2` and `diversity` are weights in standard deviations of the response. `jitter` and `blur` are shares of the
    picture's smaller side, `zoom` a share of its size, `rotation` degrees; `rate` is a step's length in shares of the range (of
    coefficients in their own unit). `examples` real pictures are named beside, out of `candidates` drawn from the explained cases.
    """

    layer: str | None = None
    channel: Annotated[int, Range(0, 2**31 - 1)] | None = None
    position: tuple[int, int] | None = None
    steps: Annotated[int, Range(1, 100_000)] = 128
    rate: Annotated[float, Range(1e-6, 10.0)] = 0.05
    parameterisation: Literal["fourier", "pixels"] = "fourier"
    start: Literal["noise", "mean"] = "noise"
    samples: Annotated[int, Range(1, 64)] = 1
    total_variation: Weight = 0.2
    l2: Weight = 0.1
    diversity: Weight = 0.0
    jitter: Annotated[float | int, Range(0.0, 0.5)] = 0.05
    zoom: Annotated[float | int, Range(0.0, 0.5)] = 0.05
    rotation: Annotated[float | int, Range(0.0, 45.0)] = 5.0
    blur: Annotated[float | int, Range(0.0, 0.5)] = 0.0
    examples: Annotated[int, Range(1, 100)] = 4
    candidates: Annotated[int, Range(1, 10_000_000)] = 2000
    seed: Seed = 0
    space: ScoreSpace = "auto"

    title: ClassVar[str] = "Feature visualisation"
    question: ClassVar[str] = "What would a picture look like that this class or channel responds to most?"
    scope: ClassVar[Literal["case", "data"]] = "data"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    modalities: ClassVar[tuple[Modality, ...]] = ("image",)
    returns: ClassVar[type[Explanation]] = Visualizations
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Olah, Mordvintsev, Schubert: Feature Visualization, Distill 2017; Erhan et al. 2009; Mahendran and Vedaldi 2015"
    )

    def __post_init__(self) -> None:
        """Raises `InvalidSetting` for a position that is none."""
        super().__post_init__()
        place: Any = self.position
        if place is None:
            return
        if not isinstance(place, tuple) or len(place) != 2 or not all(type(side) is int for side in place):
            raise InvalidSetting(
                f"FeatureVisualization(position=…) is a row and a column, two whole numbers; got {place!r}."
            )
        if not self.of_channels:
            raise InvalidSetting(
                f"position={place} is a place in a channel; name the channel or its layer too."
            )

    def explain(self, problem: Problem, progress: Progress) -> Visualizations:
        """Real pictures first, then the ascent."""
        with _units(self, problem) as (units, space):
            work = Ascent(self, problem, units, space)
            return in_rounds(work.run, progress, work.result)

    @property
    def of_channels(self) -> bool:
        """Whether units are channels of a layer."""
        return self.layer is not None or self.channel is not None

    @property
    def regularisers(self) -> Regularisers:
        """What speaks against a picture, and how it is moved."""
        return Regularisers(
            self.total_variation, self.l2, self.diversity, self.jitter, self.zoom, self.rotation, self.blur
        )


@contextlib.contextmanager
def _units(settings: FeatureVisualization, problem: Problem) -> Iterator[tuple[Units, str]]:
    """What the pictures are made for, and the scale of its response."""
    if settings.of_channels and problem.target is not None:
        raise InvalidSetting(
            f"A channel has no target; got target={problem.target!r}. Leave it out, or leave layer and channel out."
        )
    first = module_inputs(problem.model, problem.cases.X[:1])
    if settings.of_channels:
        with differentiable(problem, "auto") as score:
            picture = torch.tensor(first, device=problem.device)
            with channel_units(score, settings.layer, settings.channel, settings.position, picture) as units:
                yield units, "activation"
        return
    outputs = np.arange(problem.outputs) if problem.all_outputs else np.unique(problem.targets)
    labels = problem.target_labels
    if not problem.all_outputs:
        labels = tuple(labels[int(np.argmax(problem.targets == output))] for output in outputs)
    with differentiable(problem, _space(settings.space, problem, first)) as score:
        yield Units(score, outputs, tuple(map(str, labels)), labels), score.space


def _space(space: str, problem: Problem, first: np.ndarray) -> str:
    """For ``"auto"`` the raw score where it can be had."""
    if space != "auto":
        return space
    try:
        with differentiable(problem, "raw") as score, torch.no_grad():
            score(torch.tensor(first, device=problem.device))
    except InvalidSetting:
        return "auto"
    return "raw"
