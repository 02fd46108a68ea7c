"""Feature visualisation: a picture made so that one output, channel or neuron responds as much as it can.

    x* = argmax_x  a(x) / σ  -  what speaks against x,      low ≤ x ≤ high, channel by channel, as in the data

where a is the score of an output, the mean of a layer's channel, or that channel at one position, and σ the standard deviation of
a over real pictures. The penalties, the random moves that the picture must stand and the steps uphill are in
`explainers.gradients.ascent.climb`, the two ways of writing a picture (pixels, or a Fourier basis of decorrelated frequencies and colours)
in `explainers.gradients.ascent.picture_space`.

The picture shows what drives the unit, not what it sees in practice: nothing keeps it near the data but its range. So beside it stand
the real pictures with the highest response (`Visualizations.examples`); where one of those drives the unit further, a note says
so. The ascent finds a hill, not the highest one; `samples` starts show whether there are several. Scores are taken before a softmax or sigmoid
where that can be had, since behind it the slope vanishes and a picture may win by lowering other classes.

Units: with a `layer` (or a `channel`, of the last convolution) the channel, or all of them; else the target's output. Without a
target that is the only one, the positive one of two classes, or each class that is predicted for some case. Channels have no target.

Cost: `samples` · `steps` + 1 forward and backward passes per unit, and one forward pass for each of up to `candidates` real
pictures. Erhan et al. 2009 (activation maximisation); Mahendran and Vedaldi 2015 (total variation, jitter); Olah, Mordvintsev and
Schubert 2017 (transformations, Fourier basis, diversity; theirs compares Gram matrices of features, here it is the pictures).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from explainers.device import chunk_rows, over_chunks
from explainers.errors import InvalidSetting, ModelFailure, OutOfMemory
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Explanation, Visualizations
from explainers.gradients.ascent.climb import Adam, Regularisers
from explainers.gradients.ascent.picture_space import PictureSpace
from explainers.gradients.ascent.units import Units, channel_units
from explainers.gradients.inputs import module_inputs
from explainers.gradients.scores import differentiable
from explainers.lazily import lazily
from explainers.progress import Progress, silent
from explainers.sampling.steps import in_rounds, stretch
from explainers.schema import Modality
from explainers.settings import Range

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

Weight = Annotated[float | int, Range(0.0, 1e6)]

#: Pictures that are made side by side, and how often in all the pictures so far are shown.
TOGETHER, SHOWN = 32, 8


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
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    space: Literal["auto", "raw", "probability"] = "auto"

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
            work = _Ascent(self, problem, units, space)
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
    if len(problem.cases) == 0:
        raise InvalidSetting("There are no cases to find real pictures in; explain at least one row.")
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


class _Ascent:
    """The pictures of all units on their way."""

    def __init__(self, settings: FeatureVisualization, problem: Problem, units: Units, space: str) -> None:
        self.settings, self.problem, self.units, self.space = settings, problem, units, space
        pictures = module_inputs(problem.model, problem.data.X)
        self.drawing = PictureSpace.of(pictures, settings.parameterisation, problem.device)
        self.first = self.drawing.first(settings.start, settings.samples, settings.seed)
        k, s = len(units.names), settings.samples
        made = self.drawing.values(self.drawing.shares(self.first)).cpu().numpy()
        self.pictures = np.repeat(made[None], k, axis=0)
        self.history = np.full((k, s, settings.steps), np.nan)
        self.candidates = _drawn(len(problem.cases), settings)
        self.unshown = 0

    def run(self, progress: Progress, shown: Callable[[], None]) -> None:
        """Real pictures, then portions of units; progress counts pictures that were shown to the model."""
        k, s = self.pictures.shape[:2]
        searched = len(self.candidates)
        whole = searched + k * s * self.settings.steps
        self._search(stretch(progress, 0, whole))
        each = s * self.pictures[0, 0].nbytes * 48
        size = max(1, min(k, TOGETHER // s, chunk_rows(each, self.problem.device)))
        begin = 0
        while begin < k:
            portion = slice(begin, min(begin + size, k))
            report = stretch(progress, searched + begin * s * self.settings.steps, whole)
            try:
                self._climb(portion, report, shown)
            except (torch.OutOfMemoryError, MemoryError) as error:
                self.history[portion] = np.nan
                if size == 1:
                    raise OutOfMemory(
                        f"The {s} pictures of one unit do not fit into the memory of {self.problem.device}. Use fewer samples."
                    ) from error
                size //= 2
                continue
            begin = portion.stop

    def _search(self, progress: Progress) -> None:
        """The responses of real pictures, the best of them, and those of the starts."""
        cases = module_inputs(self.problem.model, self.problem.cases.X)
        found = self._responses(cases, self.candidates, progress)
        best = np.argsort(-found, axis=0, kind="stable")[: self.settings.examples]
        self.examples = self.candidates[best].T
        self.example_activation = np.take_along_axis(found, best, axis=0).T
        spread = found.std(axis=0)
        self.spread = np.where(spread > 0, spread, 1.0)
        self.start = self._responses(self.pictures[0]).T
        self.activation = self.start.copy()

    def _responses(
        self, pictures: np.ndarray, which: np.ndarray | None = None, progress: Progress = silent
    ) -> np.ndarray:
        """Of all units to pictures (those at these positions) as they are, ``(n, k)``."""
        columns = torch.tensor(self.units.columns, device=self.problem.device)
        which = np.arange(len(pictures)) if which is None else which

        def compute(part: slice) -> np.ndarray:
            with torch.no_grad():
                x = torch.tensor(pictures[which[part]], device=self.problem.device)
                return np.asarray(self.units.respond(x)[:, columns].cpu().numpy())

        parts = over_chunks(compute, len(which), pictures[:1].nbytes * 24, self.problem.device, progress)
        return np.concatenate(parts).astype(np.float64)

    def _climb(self, portion: slice, progress: Progress, shown: Callable[[], None]) -> None:
        """All steps of some units, whose pictures do not depend on each other."""
        settings, device = self.settings, self.problem.device
        count, s = portion.stop - portion.start, settings.samples
        columns = torch.tensor(self.units.columns[portion], device=device).repeat_interleave(s)[:, None]
        spread = torch.tensor(self.spread[portion], dtype=torch.float32, device=device).repeat_interleave(s)
        z = self.first.repeat(count, *[1] * (self.first.ndim - 1))
        climbing = Adam(z, settings.rate, settings.steps)
        for step in range(settings.steps):
            slope, response = self._slope(z, columns, spread, step)
            self.history[portion, :, step] = response.reshape(count, s)
            z = self.drawing.kept(z + climbing.step(slope))
            last = step + 1 == settings.steps
            self.unshown += count * s
            due = self.unshown >= self.history.size / SHOWN
            if due or last:
                self._keep(portion, z, settled=last)
            if due:
                self.unshown = 0
                shown()
            progress((step + 1) * count * s, count * s * settings.steps)

    def _slope(
        self, z: torch.Tensor, columns: torch.Tensor, spread: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, np.ndarray]:
        """Uphill from each picture, and the response to it as it was moved."""
        settings, rules = self.settings, self.settings.regularisers
        z = z.detach().requires_grad_()
        shares = self.drawing.shares(z)
        seen = rules.moved(shares, settings.seed, step, 1 - (step + 1) / settings.steps)
        response = self.units.respond(self.drawing.values(seen)).gather(1, columns)[:, 0]
        goal = response / spread - rules.cost(shares, self.drawing, settings.samples)
        if not response.requires_grad:
            raise ModelFailure(
                "The response has no gradient here: an operation on the way to it cannot be differentiated."
            )
        (slope,) = torch.autograd.grad(goal.sum(), z)
        return slope, response.detach().cpu().numpy()

    def _keep(self, portion: slice, z: torch.Tensor, *, settled: bool) -> None:
        """The pictures so far; at the end what they reach."""
        with torch.no_grad():
            made = self.drawing.values(self.drawing.shares(z)).cpu().numpy()
        self.pictures[portion] = made.reshape(-1, *self.pictures.shape[1:])
        if settled:
            answers = self._responses(made).reshape(-1, self.settings.samples, len(self.units.names))
            own = np.arange(portion.start, portion.stop)
            self.activation[portion] = answers[np.arange(len(own)), :, own]
        else:  # the response to the picture as it was moved
            done = int(np.isfinite(self.history[portion.start, 0]).sum())
            self.activation[portion] = self.history[portion, :, done - 1]

    def result(self) -> Visualizations:
        """The pictures so far."""
        k, s = self.pictures.shape[:2]
        steps = int(np.isfinite(self.history).sum())
        return Visualizations(
            names=self.units.names,
            pictures=self.pictures.copy(),
            activation=self.activation.copy(),
            start=self.start,
            history=self.history.copy(),
            examples=self.examples,
            example_activation=self.example_activation,
            space=self.space,
            targets=self.units.targets,
            diagnostics={
                "exact": False,
                "evaluations": len(self.candidates) + s + steps + k * s,
                "layer": self.units.layer,
                "searched": len(self.candidates),
                "spread": self.spread.tolist(),
                "share of steps": steps / (k * s * self.settings.steps),
                "seed": self.settings.seed,
                "notes": self._notes(),
            },
        )

    def _notes(self) -> tuple[str, ...]:
        """What went less well, of the units that are done."""
        done = np.isfinite(self.history).all(axis=(1, 2))
        stuck = done & (self.start == self.activation).all(axis=1)
        behind = done & ~stuck & (self.activation.max(axis=1) < self.example_activation[:, 0])
        notes = []
        if stuck.any():
            notes.append(
                f"The start gives no slope for {self._listed(stuck)}, so nothing drove the picture; try start='mean' or another seed."
            )
        if behind.any():
            notes.append(
                f"A real picture drives {self._listed(behind)} further than the made one: more steps or lower weights may show more."
            )
        return tuple(notes)

    def _listed(self, which: np.ndarray) -> str:
        names = [name for name, wanted in zip(self.units.names, which, strict=True) if wanted]
        return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _drawn(cases: int, settings: FeatureVisualization) -> np.ndarray:
    """Positions of the real pictures that are looked at."""
    if cases <= settings.candidates:
        return np.arange(cases)
    rng = np.random.default_rng(settings.seed)
    return np.sort(rng.choice(cases, size=settings.candidates, replace=False))
