"""Asking for values: what is known is given at once, what is not is queued. No streamlit in here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

import explainers as ex
from dashboard import policy
from dashboard.checks import Check, Report
from dashboard.compute import Compute, Failure, Job
from dashboard.costs import Partial
from dashboard.early import Early
from dashboard.figures.tiles import Tiles
from dashboard.selection import Selection
from dashboard.workspace import OpenWorkspace

#: Lends tiles to the browser that looks on: ``lend(key, make)`` is the token to ask with, or ``None``.
Lend = Callable[[Hashable, Callable[[], Tiles]], str | None]


def _lend_nothing(_key: Hashable, _make: Callable[[], Tiles]) -> str | None:
    return None


class Stopped(ex.ExplainerError):
    """A computation was stopped by hand before there was anything to show."""


@dataclasses.dataclass(eq=False)
class Asking:
    """A workspace, a selection, and what is asked of the model under it.

    `pending` collects what panels asked for with `later` or `best`; the page computes it after it has painted. `shown` says
    which coarser result of it was seen, `stopped` how far came what was stopped by hand and is shown as it is. `held` is what
    the run before has shown and the store may have dropped since, `seen` what this one shows; `lend` gives out tiles.
    """

    workspace: OpenWorkspace
    selection: Selection
    compute: Compute
    pending: list[Job] = dataclasses.field(default_factory=list)
    shown: dict[Hashable, Partial] = dataclasses.field(default_factory=dict)
    stopped: dict[str, str] = dataclasses.field(default_factory=dict)
    held: Mapping[Hashable, Any] = dataclasses.field(default_factory=dict)
    seen: dict[Hashable, Any] = dataclasses.field(default_factory=dict)
    lend: Lend = _lend_nothing

    @property
    def model(self) -> ex.Model:
        """The model looked at."""
        return self.workspace.models[self.selection.model].model

    @property
    def data(self) -> ex.Dataset:
        """The data of the workspace."""
        return self.workspace.data

    @property
    def schema(self) -> ex.Schema:
        """Its features."""
        return self.data.schema

    @cached_property
    def predictions(self) -> np.ndarray:
        """Predictions for every row, ``(n, k)``."""
        return self.compute.predictions(self.model, self.data)

    def now(self, explainer: ex.Explainer, rows: Any = None, target: Any = None) -> Any:
        """A result, computed at once if it is not known. Raises `ExplainerError`."""
        return self.compute.ask(self.model, self.data, explainer, rows, target)

    def later(self, title: str, explainer: ex.Explainer, rows: Any = None, target: Any = None, early: Early | None = None) -> Any | None:  # fmt: skip
        """A result if it is known; else it is queued, to be computed in the parts of `early`, and this is ``None``: show a skeleton.

        Raises `ExplainerError` where it failed before, or was stopped by hand.
        """
        found = self.known(explainer, rows, target)
        if found is None:
            if title in self.selection.cancelled:
                raise Stopped(f"Stopped: {title}. Nothing is lost; choose “compute again” to resume.")
            self._queue(self.compute.job(title, self.model, self.data, explainer, rows, target, early))
        return found

    def best(self, title: str, explainer: ex.Explainer, rows: Any = None, target: Any = None, early: Early | None = None) -> Any | None:  # fmt: skip
        """A result if it is known; else it is queued, and this is the finest coarser one yet, or ``None``: show a skeleton.

        The diagnostics of a coarser one say ``so_far``, how far it is, and whether it was ``stopped`` by hand. Raises
        `ExplainerError` where the result failed before, `Stopped` where it was stopped before there was anything to show.
        """
        found = self.known(explainer, rows, target)
        if found is not None:
            return found
        key = ex.Request.of(self.model, self.data, explainer, rows, target)
        partial = self.compute.partial(key)
        if partial is None:
            return self.later(title, explainer, rows, target, early)
        so_far, stopped = partial.text(explainer, self.data), title in self.selection.cancelled
        if stopped:
            self.stopped[title] = (
                f"Stopped after {so_far}; error bars are wider. Choose “compute again” to go on."
            )
        else:
            self.shown[key] = partial
            self._queue(self.compute.job(title, self.model, self.data, explainer, rows, target, early))
        return dataclasses.replace(
            partial.result,
            diagnostics={**partial.result.diagnostics, "so_far": so_far, "stopped": stopped},
        )

    def soon(self, title: str, explainer: ex.Explainer, rows: Any = None, target: Any = None) -> Any | None:
        """A result at once where that takes a moment, about; else the `best` there is."""
        if self.known(explainer, rows, target) is None and not self._quick(explainer, rows):
            return self.best(title, explainer, rows, target)
        return self.now(explainer, rows, target)

    def cost(self, title: str) -> str:
        """What a pending computation costs, in words; empty where it is not much, or not known."""
        return next((job.cost for job in self.pending if job.title == title), "")

    def seconds(self, explainer: ex.Explainer, rows: Any = None) -> float | None:
        """What an explanation takes, about; ``None`` where nobody knows."""
        _ = self.predictions  # asked first, so that a worker's start is not taken for the model's pace
        return self.compute.costs.seconds(self.model, self.data, explainer, rows)

    def making(self, explainer: ex.FeatureVisualization, units: int) -> float:
        """Seconds to make pictures for so many units, about."""
        _ = self.predictions  # which tell the model's pace
        return self.compute.costs.making(self.model, self.data, explainer, units)

    def _quick(self, explainer: ex.Explainer, rows: Any) -> bool:
        seconds = self.seconds(explainer, rows)
        return seconds is None or seconds <= policy.MOMENT

    def partial(self, explainer: ex.Explainer, rows: Any = None, target: Any = None) -> Partial | None:
        """What there is of a result that is not finished."""
        return self.compute.partial(ex.Request.of(self.model, self.data, explainer, rows, target))

    def note(self, partial: Partial, explainer: ex.Explainer, rows: Any = None, target: Any = None) -> None:
        """Take what a quicker explainer found for a coarser result of this one."""
        self.compute.note(ex.Request.of(self.model, self.data, explainer, rows, target), partial)

    def known(self, explainer: ex.Explainer, rows: Any = None, target: Any = None) -> Any | None:
        """A result if there is one; raises `ExplainerError` where it failed."""
        key = ex.Request.of(self.model, self.data, explainer, rows, target)
        found = self.compute.store.get(key)
        if isinstance(found, Failure):
            raise ex.ExplainerError(found.message)
        # several large maps may be more than the store keeps: without this each would push the others out for ever
        found = self.held.get(key) if found is None else found
        if found is not None:
            self.seen[key] = found
        return found

    def checked(self, title: str, check: Check, result: ex.Attribution | None) -> Report | None:
        """What a check of a map found, if it is known; else it is queued, and this is ``None``.

        Raises `ExplainerError` where it failed before, or was stopped by hand.
        """
        job = self.compute.checking(title, self.model, self.data, check, result)
        found: Any = self.compute.store.get(job.key)
        if isinstance(found, Failure):
            raise ex.ExplainerError(found.message)
        if found is None:
            if title in self.selection.cancelled:
                raise Stopped(f"Stopped: {title}. Nothing is lost; choose “compute again” to resume.")
            self._queue(job)
        assert isinstance(found, Report | None)
        return found

    def _queue(self, job: Job) -> None:
        if all(job.key != other.key for other in self.pending):
            self.pending.append(job)

    def refused(self, kind: type[ex.Explainer]) -> str | None:
        """Why an explainer does not apply to this model and these data, or ``None``."""
        return self.compute.why_not(kind, self.model, self.data)
