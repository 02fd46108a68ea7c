"""What a panel sees: the open workspace, the selection, and a way to ask for values. No streamlit in here."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from functools import cached_property
from typing import Any

import numpy as np

import explainers as ex
from dashboard import policy
from dashboard.checks import Check, Report
from dashboard.compute import Compute, Failure, Job
from dashboard.costs import Partial
from dashboard.early import Early
from dashboard.selection import LIME_HERE, SHAP_HERE, Selection
from dashboard.workspace import OpenWorkspace


class Stopped(ex.ExplainerError):
    """A computation was stopped by hand before there was anything to show."""


@dataclasses.dataclass(eq=False)
class View:
    """One look at a workspace under a selection; made anew for each run of a page.

    `pending` collects what panels asked for with `later` or `best`; the page computes it after it has painted. `shown` says
    which coarser result of it was seen, `stopped` how far came what was stopped by hand and is shown as it is.
    """

    workspace: OpenWorkspace
    selection: Selection
    compute: Compute
    pending: list[Job] = dataclasses.field(default_factory=list)
    shown: dict[Hashable, Partial] = dataclasses.field(default_factory=dict)
    stopped: dict[str, str] = dataclasses.field(default_factory=dict)

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
        found = self.compute.known(self.model, self.data, explainer, rows, target)
        if isinstance(found, Failure):
            raise ex.ExplainerError(found.message)
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

    # What the selection means

    @cached_property
    def predictions(self) -> np.ndarray:
        """Predictions for every row, ``(n, k)``."""
        return self.compute.predictions(self.model, self.data)

    @cached_property
    def output(self) -> int:
        """Position of the output explained: the chosen class, the positive one of two, or the predicted one."""
        if self.selection.target is not None and self.model.classes:
            return self.model.output_of(self.selection.target, len(self.model.classes))
        if len(self.model.classes) == 2:
            return 1
        return int(self.predictions[self.selection.row].argmax()) if self.model.classes else 0

    @property
    def target(self) -> Any:
        """The label of that output, as `explain` wants it."""
        return self.model.classes[self.output] if self.model.classes else None

    @property
    def classifies(self) -> bool:
        """Whether the model's answer is a class."""
        return self.model.task == "classification"

    @cached_property
    def scores(self) -> np.ndarray:
        """The prediction looked at, for every row, ``(n,)``."""
        return np.asarray(self.predictions[:, self.output])

    @cached_property
    def decided(self) -> np.ndarray:
        """The decision for every row: the threshold for two classes, else the largest output. ``(n,)`` positions."""
        return self._decide(self.predictions)

    def _decide(self, outputs: np.ndarray) -> np.ndarray:
        if len(self.model.classes) == 2 and self.model.space == "probability":
            return np.asarray((outputs[:, 1] >= self.selection.threshold).astype(np.int64))
        return np.asarray(outputs.argmax(axis=1).astype(np.int64))

    @cached_property
    def truth(self) -> np.ndarray | None:
        """The truth in the model's terms, ``(n,)``, or ``None``."""
        y = self.data.y
        if y is None:
            return None
        found: np.ndarray = self.compute.kept(
            ("truth", self.model.digest, self.data.digest), lambda: self.model.truth(y)
        )
        return found

    @cached_property
    def wrong(self) -> np.ndarray | None:
        """Which rows were decided wrongly, ``(n,)``, or ``None`` where that is unknown or makes no sense."""
        if self.truth is None or not self.classifies:
            return None
        return np.asarray((self.truth >= 0) & (self.truth != self.decided))

    @property
    def decision(self) -> str:
        """The class decided for the case as edited; empty for a regression."""
        if not self.classifies:
            return ""
        outputs = self.predictions[self.selection.row] if not self.edited else self.answer
        return str(self.model.classes[int(self._decide(outputs[None])[0])])

    @property
    def decision_as_recorded(self) -> str:
        """The class decided for the case as it stands in the data; empty for a regression."""
        return str(self.model.classes[int(self.decided[self.selection.row])]) if self.classifies else ""

    @cached_property
    def answer(self) -> np.ndarray:
        """All outputs for the case as edited, ``(k,)``."""
        key = ("answer", self.model.digest, self.data.digest, self.selection.row, self.selection.edits)
        # kept, since a page that is painted again while its worker computes would wait for it
        return np.asarray(
            self.compute.kept(key, lambda: self.compute.predict(self.model, self.data, self.case)[0])
        )

    @cached_property
    def original(self) -> ex.Dataset:
        """The selected case as it stands in the data."""
        return self.data.take([self.selection.row])

    @cached_property
    def case(self) -> ex.Dataset:
        """The selected case with the edits made to it."""
        if not self.selection.edits:
            return self.original
        codes = self.original.matrix.copy()
        for name, code in self.selection.edits:
            codes[0, self.schema.position(name)] = code
        return self.data.with_matrix(codes)

    @property
    def edited(self) -> bool:
        """Whether anything was changed by hand."""
        return bool(self.selection.edits)

    @cached_property
    def score(self) -> float:
        """The prediction for the case as edited."""
        if not self.edited:
            return float(self.scores[self.selection.row])
        return float(self.answer[self.output])

    def unit_of(self, space: str) -> str:
        """The unit of values in this space: the target's, and of several classes' scores that they are no log-odds."""
        if space == "raw" and len(self.model.classes) > 2:
            return "raw score"
        return self.workspace.target_unit

    def related(self, threshold: float) -> tuple[tuple[str, ...], ...]:
        """Groups of features that rise and fall together; none are sought among very many features."""
        if len(self.schema.names) > policy.MOST_FEATURES:
            return ()
        key = ("related", self.data.digest, threshold)
        found: tuple[tuple[str, ...], ...] = self.compute.kept(
            key, lambda: ex.correlated_groups(self.data, threshold)
        )
        return found

    @cached_property
    def plausibility(self) -> ex.Plausibility:
        """What the data hold, to tell a case apart that they do not."""
        answer = self.compute.kept(("plausibility", self.data.digest), lambda: ex.Plausibility.of(self.data))
        assert isinstance(answer, ex.Plausibility)
        return answer

    @cached_property
    def usual(self) -> float:
        """The mean prediction for the reference cases."""
        return float(self.scores[self.data.sample(policy.BACKGROUND)].mean())

    @property
    def reference_text(self) -> str:
        """What everything is compared with: ``100 training patients``."""
        count = min(policy.BACKGROUND, len(self.data.rows("train")) or len(self.data))
        many = self.workspace.about.subjects
        return (
            f"{count} training {many}"
            if len(self.data.rows("train"))
            else f"{count} {many} (may include training rows)"
        )

    @cached_property
    def reasons(self) -> ex.Attribution | None:
        """Shapley values of the case, on the scale that is selected: the best there are yet, or ``None``."""
        explainer, live = (
            policy.local_attribution(self.model, self.data, self.refused, self.selection.space, live=live)
            for live in (False, True)
        )
        rows, target = self._case_rows, self.target
        if isinstance(explainer, ex.TreeShap):
            answer = self.now(explainer, rows, target)
        elif explainer == live:
            answer = self.soon(SHAP_HERE, explainer, rows, target)
        else:
            answer = self._refined(explainer, live, rows, target)
        assert isinstance(answer, ex.Attribution | None)
        return answer

    def _refined(self, explainer: ex.Explainer, live: ex.Explainer, rows: Any, target: Any) -> Any | None:
        """The best there is; the answer of a quicker explainer comes first where it takes a moment only."""
        if self.known(explainer, rows, target) is None and self._quick(live, rows):
            first = self.now(live, rows, target)
            if first.diagnostics.get("exact"):
                return first
            self.note(Partial(first, policy.LIVE_BUDGET, policy.CASE_BUDGET), explainer, rows, target)
        return self.best(SHAP_HERE, explainer, rows, target)

    @cached_property
    def surrogate(self) -> ex.Attribution | None:
        """LIME's weights of the case, or ``None`` where LIME does not apply, would take minutes, or is not ready yet."""
        if len(self.schema.names) > policy.MOST_FEATURES or self.refused(ex.Lime) is not None:
            return None
        try:
            answer = self.soon(LIME_HERE, policy.surrogate(), self._case_rows, self.target)
        except Stopped as stopped:
            self.stopped[LIME_HERE] = str(stopped)
            return None
        assert isinstance(answer, ex.Attribution | None)
        return answer

    @cached_property
    def sliders(self) -> tuple[str, ...]:
        """The features with a slider, by what they contribute to the case as it stands in the data, so that none jumps.

        The order of the first answer stays. Before there is one, and where Shapley values are refused, it is that of the data.
        """
        chosen = self.selection
        key = ("sliders", self.model.digest, self.data.digest, chosen.row, self.output, chosen.space)
        order: np.ndarray | None = self.compute.store.get(key)
        if order is None:
            try:
                first = View(self.workspace, chosen.change(edits=()), self.compute).reasons
            except ex.ExplainerError:
                first = None
            if first is None:
                return self.schema.names[: policy.SLIDERS]
            order = np.argsort(-np.abs(first.values[0]), kind="stable")
            self.compute.store.put(key, order)
        return tuple(self.schema.names[j] for j in order[: policy.SLIDERS])

    @cached_property
    def curves(self) -> ex.Effect:
        """The case's own curve for every feature that has a slider."""
        names = self.sliders if len(self.sliders) < len(self.schema.names) else ()
        answer = self.now(policy.case_curves(tuple(sorted(names))), self.case, self.target)
        assert isinstance(answer, ex.Effect)
        return answer

    @property
    def _case_rows(self) -> Any:
        """How the case is named in a request: by position, so that it is found again, or as an edited case."""
        return self.case if self.edited else [self.selection.row]

    @cached_property
    def class_name(self) -> str:
        """The class explained, or the target's name for a regression."""
        return str(self.target) if self.classifies else self.workspace.target_label or "the target"
