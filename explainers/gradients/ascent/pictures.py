"""Made pictures of all units on their way uphill, portion by portion, and what they come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from explainers.device import chunk_rows
from explainers.errors import ModelFailure, OutOfMemory
from explainers.explainer import Problem
from explainers.explanation import Visualizations
from explainers.gradients.ascent.climb import Adam, Regularisers
from explainers.gradients.ascent.picture_space import PictureSpace
from explainers.gradients.ascent.real import drawn, responses, strongest
from explainers.gradients.ascent.units import Units
from explainers.gradients.inputs import module_inputs
from explainers.lazily import lazily
from explainers.progress import Progress
from explainers.sampling.steps import stretch

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Pictures that are made side by side, and how often in all the pictures so far are shown.
TOGETHER, SHOWN = 32, 8


@runtime_checkable
class AscentSettings(Protocol):
    """What an ascent needs to know; `FeatureVisualization` says what each means."""

    @property
    def steps(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def parameterisation(self) -> Literal["fourier", "pixels"]: ...
    @property
    def start(self) -> Literal["noise", "mean"]: ...
    @property
    def samples(self) -> int: ...
    @property
    def examples(self) -> int: ...
    @property
    def candidates(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def regularisers(self) -> Regularisers: ...


class Ascent:
    """The pictures of `k` units from `s` starts each, and what is known of them so far."""

    def __init__(self, settings: AscentSettings, problem: Problem, units: Units, space: str) -> None:
        self.settings, self.problem, self.units, self.space = settings, problem, units, space
        pictures = module_inputs(problem.model, problem.data.X)
        self.drawing = PictureSpace.of(pictures, settings.parameterisation, problem.device)
        self.first = self.drawing.first(settings.start, settings.samples, settings.seed)
        k, s = len(units.names), settings.samples
        made = self.drawing.values(self.drawing.shares(self.first)).cpu().numpy()
        self.pictures = np.repeat(made[None], k, axis=0)
        self.history = np.full((k, s, settings.steps), np.nan)
        self.candidates = drawn(len(problem.cases), settings.candidates, settings.seed)
        self.unshown = 0

    def run(self, progress: Progress, shown: Callable[[], None]) -> None:
        """Real pictures, then portions of units; progress counts pictures that were shown to the model.

        Raises `OutOfMemory` where not even one unit's pictures have room, `ModelFailure` where there is no slope.
        """
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
        """The real pictures with the highest responses, and the responses to the starts."""
        cases = module_inputs(self.problem.model, self.problem.cases.X)
        wanted, device = self.settings.examples, self.problem.device
        self.real = strongest(self.units, cases, self.candidates, wanted, device, progress)
        self.start = responses(self.units, self.pictures[0], device).T
        self.activation = self.start.copy()

    def _climb(self, portion: slice, progress: Progress, shown: Callable[[], None]) -> None:
        """All steps of some units, whose pictures do not depend on each other."""
        settings, device = self.settings, self.problem.device
        count, s = portion.stop - portion.start, settings.samples
        columns = torch.tensor(self.units.columns[portion], device=device).repeat_interleave(s)[:, None]
        spread = torch.tensor(
            self.real.spread[portion], dtype=torch.float32, device=device
        ).repeat_interleave(s)
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
            answers = responses(self.units, made, self.problem.device)
            answers = answers.reshape(-1, self.settings.samples, len(self.units.names))
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
            examples=self.real.best,
            example_activation=self.real.activation,
            space=self.space,
            targets=self.units.targets,
            diagnostics={
                "exact": False,
                "evaluations": self.real.searched + s + steps + k * s,
                "layer": self.units.layer,
                "searched": self.real.searched,
                "spread": self.real.spread.tolist(),
                "share of steps": steps / (k * s * self.settings.steps),
                "seed": self.settings.seed,
                "notes": self._notes(),
            },
        )

    def _notes(self) -> tuple[str, ...]:
        """What went less well, of the units that are done."""
        done = np.isfinite(self.history).all(axis=(1, 2))
        stuck = done & (self.start == self.activation).all(axis=1)
        behind = done & ~stuck & (self.activation.max(axis=1) < self.real.activation[:, 0])
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
