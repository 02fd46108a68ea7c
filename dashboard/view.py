"""What a panel sees: the open workspace, what the selection means, and a way to ask for values. No streamlit in here."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

import explainers as ex
from dashboard import policy
from dashboard.asking import Asking, Stopped
from dashboard.costs import Partial
from dashboard.selection import LIME_HERE, SHAP_HERE


class View(Asking):
    """One look at a workspace under a selection; made anew for each run of a page."""

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
