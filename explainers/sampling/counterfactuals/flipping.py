"""Search for the smallest permitted change of one case after which a goal is reached.

1. Every single move with every one of its values, in one batch.
2. While too few were found and more changes are permitted: the most promising failures (closest to the goal, or past it
   but against an ``at_most``; at most two per set of features) joined with every value of every other move. A second change that would suffice alone is
   left out, so that every change in a suggestion is needed.
3. Each number is drawn back towards its original value: the stretch between the last value that fails and the first that
   works is cut into twelve, again and again, down to one step of the data's own resolution. Other than bisection this
   also sees, at each level, a nearer island that works.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from explainers.sampling.counterfactuals.changes import Changes, changed

#: Failed changes that are extended, how many of them may touch the same features, points per narrowing, and moves that
#: are joined with others where there are very many.
BEAM, PER_SET, POINTS, MOVES = 12, 2, 12, 40

Rows = Float[np.ndarray, "n d"]
#: Goal reached or not, and how near it is, for changed copies of the case.
Judge = Callable[[Rows], tuple[Bool[np.ndarray, " n"], Float[np.ndarray, " n"]]]


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """A changed case, and which moves were made."""

    row: np.ndarray
    moves: frozenset[int]


@dataclasses.dataclass(frozen=True, eq=False)
class _Block:
    """Rows that add the same move to the same state, one for each value (by its place among the move's values)."""

    rows: np.ndarray
    moves: frozenset[int]
    number: int
    places: list[int]


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """The search for one case; `judge` asks the model."""

    case: np.ndarray
    changes: Changes
    judge: Judge
    max_changes: int
    suggestions: int

    def run(self) -> list[State]:
        """The best suggestions, best first, each touching other features."""
        found: dict[frozenset[int], State] = {}
        beam = [State(self.case, frozenset())]
        moves = list(range(len(self.changes.moves)))
        sufficient: set[tuple[int, int]] = set()
        for size in range(self.max_changes):
            tried = self._extend(beam, moves, sufficient)
            if not tried:
                break
            rows = np.concatenate([block.rows for block in tried])
            reached, near = self.judge(rows)
            fits = self.changes.allowed(rows, self.case)
            self._collect(found, tried, rows, reached & fits)
            if len(_smallest(found)) >= self.suggestions:
                break
            # what reaches the goal but breaks an ``at_most`` stays in: a second change can put that right
            near = np.where(reached & fits, -np.inf, near)
            if size == 0:
                sufficient = _where(tried, reached & fits)
                moves = _best_moves(tried, near, reached & fits)
            beam = self._promising(tried, rows, near)
        kept = self._needed(self._ranked(list(found.values()))[: 4 * self.suggestions])
        return self._different(self._ranked(self._narrowed(kept)))

    def _extend(
        self, beam: Sequence[State], moves: Sequence[int], sufficient: set[tuple[int, int]]
    ) -> list[_Block]:
        """Every state with one more move, with each of its values."""
        blocks = []
        for number in moves:
            move = self.changes.moves[number]
            values = self.changes.values_for(move, self.case)
            places = [place for place in range(len(values)) if (number, place) not in sufficient]
            for state in beam if places else ():
                width = sum(len(self.changes.moves[other].columns) for other in state.moves) + len(
                    move.columns
                )
                if number not in state.moves and width <= self.max_changes:
                    rows = np.repeat(state.row[None], len(places), axis=0)
                    rows[:, list(move.columns)] = values[places]
                    blocks.append(_Block(rows, state.moves | {number}, number, places))
        return blocks

    def _collect(
        self,
        found: dict[frozenset[int], State],
        tried: Sequence[_Block],
        rows: Rows,
        works: Bool[np.ndarray, " n"],
    ) -> None:
        """Keep the nearest that works for each set of moves."""
        distance = self.changes.distance(rows, self.case)
        block = np.repeat(np.arange(len(tried)), [len(b.rows) for b in tried])
        hits = np.flatnonzero(works)
        for i in hits[np.argsort(distance[hits], kind="stable")]:
            moves = tried[block[i]].moves
            found.setdefault(moves, State(rows[i], moves))

    def _promising(self, tried: Sequence[_Block], rows: Rows, near: Float[np.ndarray, " n"]) -> list[State]:
        """The failures nearest to the goal, few for each set of moves."""
        block = np.repeat(np.arange(len(tried)), [len(b.rows) for b in tried])
        beam: list[State] = []
        used: dict[frozenset[int], int] = {}
        for i in np.lexsort((self.changes.distance(rows, self.case), -near)):
            moves = tried[block[i]].moves
            if near[i] == -np.inf or len(beam) == BEAM:
                break
            if used.get(moves, 0) < PER_SET:
                used[moves] = used.get(moves, 0) + 1
                beam.append(State(rows[i], moves))
        return beam

    def _needed(self, states: list[State]) -> list[State]:
        """Those in which no move can be taken back."""
        tries, owners = [], []
        for owner, state in enumerate(states):
            for number in state.moves if len(state.moves) > 1 else ():
                row = state.row.copy()
                columns = list(self.changes.moves[number].columns)
                row[columns] = self.case[columns]
                tries.append(row)
                owners.append(owner)
        if not tries:
            return states
        rows = np.array(tries)
        fine = self.judge(rows)[0] & self.changes.allowed(rows, self.case)
        needless = {owners[i] for i in np.flatnonzero(fine)}
        return [state for owner, state in enumerate(states) if owner not in needless]

    def _narrowed(self, states: list[State]) -> list[State]:
        """The same changes, each number as near to its original as still works."""
        rows = [state.row.copy() for state in states]
        orders = [self._by_size(row, state) for row, state in zip(rows, states, strict=True)]
        # what one number gives way may let another come nearer, so several take a second turn
        for turn in range(max(map(len, orders), default=0)):
            spans = [
                _Span.of(row, self.case, self.changes, order[turn])
                for row, order in zip(rows, orders, strict=True)
                if turn < len(order)
            ]
            while any(span.width > 1 for span in spans):
                open_spans = [span for span in spans if span.width > 1]
                tries = [span.points() for span in open_spans]
                batch = np.concatenate(
                    [span.tried(points) for span, points in zip(open_spans, tries, strict=True)]
                )
                works = self.judge(batch)[0] & self.changes.allowed(batch, self.case)
                parts = np.split(works, np.cumsum([len(points) for points in tries])[:-1])
                for span, points, part in zip(open_spans, tries, parts, strict=True):
                    span.narrow(points, part)
        return [State(row, state.moves) for row, state in zip(rows, states, strict=True)]

    def _by_size(self, row: np.ndarray, state: State) -> list[int]:
        """The moved single numbers with a known original, the largest change first; twice where there are several."""
        numbers = [
            m for m in sorted(state.moves)
            if self.changes.moves[m].decimals is not None and not np.isnan(self.case[self.changes.moves[m].columns[0]])
        ]  # fmt: skip
        moved = np.abs(row - self.case) / self.changes.scale
        order = sorted(numbers, key=lambda m: -float(moved[self.changes.moves[m].columns[0]]))
        return order if len(order) < 2 else order + order

    def _ranked(self, states: list[State]) -> list[State]:
        """Fewest changed features first, then nearest."""
        if not states:
            return []
        rows = np.array([state.row for state in states])
        count, distance = changed(rows, self.case).sum(axis=1), self.changes.distance(rows, self.case)
        return [states[i] for i in np.lexsort((distance, count))]

    def _different(self, states: list[State]) -> list[State]:
        """As many as wanted: first those that need no feature set of a better one, then the others."""
        chosen = _smallest({state.moves: state for state in reversed(states)})
        first = [state for state in states if state.moves in chosen]
        rest = [state for state in states if state.moves not in chosen]
        return self._ranked((first + rest)[: self.suggestions])


def _where(tried: Sequence[_Block], works: Bool[np.ndarray, " n"]) -> set[tuple[int, int]]:
    """Which value of which move works."""
    pairs = [(block.number, place) for block in tried for place in block.places]
    return {pairs[i] for i in np.flatnonzero(works)}


def _best_moves(
    tried: Sequence[_Block], near: Float[np.ndarray, " n"], works: Bool[np.ndarray, " n"]
) -> list[int]:
    """The moves worth joining with others: all of them, unless there are very many."""
    best: dict[int, float] = {}
    start = 0
    for block in tried:
        part = slice(start, start + len(block.rows))
        best[block.number] = np.inf if works[part].any() else float(near[part].max())
        start = part.stop
    return sorted(sorted(best, key=lambda number: -best[number])[:MOVES])


def _smallest(found: dict[frozenset[int], State]) -> set[frozenset[int]]:
    """The sets of moves that contain no other one."""
    return {moves for moves in found if not any(other < moves for other in found)}


@dataclasses.dataclass(eq=False)
class _Span:
    """One number of one row, between the last step that fails (`near`) and the first that works (`far`)."""

    row: np.ndarray
    column: int
    decimals: int
    near: int
    far: int

    @classmethod
    def of(cls, row: np.ndarray, case: np.ndarray, changes: Changes, number: int) -> _Span:
        move = changes.moves[number]
        column, decimals = move.columns[0], move.decimals or 0
        start = float(np.clip(case[column], changes.low[column], changes.high[column]))
        steps = [round(value * 10**decimals) for value in (start, float(row[column]))]
        return cls(row, column, decimals, steps[0], steps[1])

    @property
    def width(self) -> int:
        return abs(self.far - self.near)

    def points(self) -> list[int]:
        """Steps strictly between, nearest to the original first."""
        share = np.linspace(0.0, 1.0, POINTS + 2)[1:-1]
        sign = 1 if self.far > self.near else -1
        inside = {round(float(s) * self.width) for s in share} - {0, self.width}
        return [self.near + sign * offset for offset in sorted(inside)]

    def tried(self, points: Sequence[int]) -> np.ndarray:
        rows = np.repeat(self.row[None], len(points), axis=0)
        rows[:, self.column] = [self._value(step) for step in points]
        return rows

    def narrow(self, points: Sequence[int], works: np.ndarray) -> None:
        first = int(np.argmax(works)) if works.any() else len(points)
        if first < len(points):
            self.far = points[first]
            self.row[self.column] = self._value(self.far)
        if first > 0:
            self.near = points[first - 1]

    def _value(self, step: int) -> float:
        return float(round(step / 10**self.decimals, self.decimals))
