"""Friedman's H: how much of the joint effect of two features is more than the sum of their own effects.

With partial dependence `F` at the cases themselves, each centred to mean 0 over them,

    H²_jk = Σ_i [F_jk(x_ij, x_ik) − F_j(x_ij) − F_k(x_ik)]² / Σ_i F_jk(x_ij, x_ik)²
    H²_j  = Σ_i [f(x_i) − F_j(x_ij) − F_−j(x_i,−j)]² / Σ_i f(x_i)²

0 where effects only add up; the second stands on the diagonal and is about a feature with all others. H is a share: it can be
large where the joint effect is small, so `Interaction.strength` has the numerator too, in units of the prediction (the root
of its mean over the cases). On the probability scale the curve from score to probability makes interactions of its own;
``space="raw"`` leaves them out. Partial dependence asks about cases that could not exist where features are correlated.

Cost: ``m² · (features + pairs)`` predictions at most, fewer where values repeat; one pass over the model's trees where it has
some and the output is a sum of their leaves. Paper: Friedman and Popescu 2008, Predictive learning via rule
ensembles.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Need, Problem, resolve_space
from explainers.explanation import Interaction
from explainers.progress import Progress
from explainers.sampling.edited import ask_edited, one_output
from explainers.settings import Range, ScoreSpace, Seed
from explainers.trees.effects.one_pass import tree_pairs
from explainers.trees.effects.view import TreeView

#: Squares below this share of the mean squared prediction are rounding.
NOTHING = 1e-26


@dataclasses.dataclass(frozen=True)
class InteractionStrength(Explainer):
    """How much of the joint effect of two features is more than their sum; see the module's docstring.

    `features` names the features among which pairs are formed, none means all. More than `cases` cases are sampled
    (`diagnostics["rows"]` says which).
    """

    title: ClassVar[str] = "Interaction strength (Friedman's H)"
    question: ClassVar[str] = "Which features act together, beyond the sum of their own effects?"
    scope: ClassVar[Literal["case", "data"]] = "data"
    needs: ClassVar[frozenset[Need]] = frozenset({"several rows"})
    returns: ClassVar[type] = Interaction
    paper: ClassVar[str] = "Friedman and Popescu 2008"

    features: tuple[str, ...] = ()
    cases: Annotated[int, Range(2, 5000)] = 100
    seed: Seed = 0
    space: ScoreSpace = "auto"

    def explain(self, problem: Problem, progress: Progress) -> Interaction:
        """Partial dependence of every feature and every pair at the cases."""
        space = resolve_space(self.space, problem.model)
        asked = len(problem.cases)
        rows = np.arange(asked)
        if asked > self.cases:
            rows = np.sort(np.random.default_rng(self.seed).choice(asked, size=self.cases, replace=False))
            problem = dataclasses.replace(problem, cases=problem.cases.take(rows))
        targets = one_output(problem, "InteractionStrength")
        if len(rows) < 2:
            raise InvalidSetting("InteractionStrength needs at least two cases; the rows named are one.")
        schema = problem.data.schema
        columns = [schema.position(name) for name in dict.fromkeys(self.features or schema.names)]
        view = TreeView.of(problem, space)
        if view is not None and view.linear and (targets == targets[0]).all():
            found = tree_pairs(view, problem.cases.matrix, columns, int(targets[0]), progress)
            kernel, evaluations = "tree pairs, all in one pass", len(rows)
        else:
            asking = _Asking(problem, columns, space, targets)
            found = asking.run(progress)
            kernel, evaluations = "predictions", asking.evaluations
        values, strength = _shares(*found)
        return Interaction(
            names=tuple(schema.names[j] for j in columns),
            values=values,
            strength=strength,
            space=space,
            targets=problem.target_labels,
            diagnostics={
                "exact": len(rows) == asked,
                "evaluations": evaluations,
                "kernel": kernel,
                "cases": len(rows),
                "rows": rows,
                "seed": self.seed,
            },
        )


def _shares(
    own: Float[np.ndarray, " m"],
    alone: Float[np.ndarray, "d m"],
    without: Float[np.ndarray, "d m"],
    joint: Float[np.ndarray, "d d m"],
) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, "d d"]]:
    """H and the root of the mean squared numerator, from the partial dependences (constants do not matter).

    `joint` is the joint partial dependence of each pair ``j < k`` less that of each alone.
    """
    least = NOTHING * float((own**2).mean())
    own, alone, without, joint = (
        part - part.mean(axis=-1, keepdims=True) for part in (own, alone, without, joint)
    )
    d = len(alone)
    whole = joint + alone[:, None] + alone[None, :]
    diagonal = np.arange(d)
    joint[diagonal, diagonal] = own - alone - without
    whole[diagonal, diagonal] = own
    above, below = (joint**2).mean(axis=-1), (whole**2).mean(axis=-1)
    above = np.where(above > least, above, 0.0)
    share = np.sqrt(above / np.where(below > least, below, np.inf))
    size = np.sqrt(above)
    mirror = np.triu(np.ones((d, d), dtype=bool))
    return np.where(mirror, share, share.T), np.where(mirror, size, size.T)


class _Asking:
    """The same by asking the model: each distinct value (or pair of values) put into every case."""

    def __init__(self, problem: Problem, columns: list[int], space: str, targets: np.ndarray) -> None:
        self.problem, self.space, self.targets = problem, space, targets
        self.codes = problem.cases.matrix
        d = len(columns)
        self.sets: list[tuple[int, ...]] = [(j,) for j in range(d)]
        self.sets += itertools.combinations(range(d), 2)
        self.columns = [[columns[j] for j in members] for members in self.sets]
        self.values, self.places = [], []
        for chosen in self.columns:
            values, place = np.unique(self.codes[:, chosen], axis=0, return_inverse=True)
            self.values.append(values)
            self.places.append(place.reshape(-1))
        m = len(self.codes)
        self.starts = m * np.concatenate([[0, 1], 1 + np.cumsum([len(values) for values in self.values])])
        self.evaluations = int(self.starts[-1])

    def run(self, progress: Progress) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The predictions, partial dependences, their complements, and joint ones less the single ones."""
        m = len(self.codes)
        singles = sum(len(members) == 1 for members in self.sets)
        own, sums = np.empty(m), [np.zeros(len(values)) for values in self.values]
        without = np.zeros((singles, m))
        counts = [np.bincount(place) / m for place in self.places]

        def take(part: slice, answers: np.ndarray) -> None:
            case = np.arange(part.start, part.stop) % m
            found = answers[np.arange(len(answers)), self.targets[case]]
            for which, inside, value in self._pieces(part):
                if which < 0:
                    own[case[inside]] = found[inside]
                    continue
                np.add.at(sums[which], value, found[inside] / m)
                if which < singles:
                    np.add.at(without[which], case[inside], found[inside] * counts[which][value])

        ask_edited(self.problem, self.evaluations, self._edited, take, progress, self.space)
        at_cases = [total[place] for total, place in zip(sums, self.places, strict=True)]
        alone, joint = np.array(at_cases[:singles]), np.zeros((singles, singles, m))
        for members, found in zip(self.sets[singles:], at_cases[singles:], strict=True):
            j, k = members[0], members[1]
            joint[j, k] = found - alone[j] - alone[k]
        return own, alone, without, joint

    def _pieces(self, part: slice) -> list[tuple[int, slice, np.ndarray]]:
        """Which set of features a portion's copies move (-1: none), where in the portion, and to which value."""
        m = len(self.codes)
        pieces = []
        first = int(np.searchsorted(self.starts, part.start, side="right")) - 1
        for which in range(first, len(self.starts) - 1):
            start, stop = (
                max(part.start, int(self.starts[which])),
                min(part.stop, int(self.starts[which + 1])),
            )
            if start >= stop:
                break
            value = (np.arange(start, stop) - int(self.starts[which])) // m
            pieces.append((which - 1, slice(start - part.start, stop - part.start), value))
        return pieces

    def _edited(self, part: slice) -> Float[np.ndarray, "p d"]:
        made = self.codes[np.arange(part.start, part.stop) % len(self.codes)]
        for which, inside, value in self._pieces(part):
            for place, column in enumerate(self.columns[which] if which >= 0 else ()):
                made[inside, column] = self.values[which][value, place]
        return np.asarray(made)
