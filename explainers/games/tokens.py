r"""The game of texts: players are words, and absent words are removed or masked.

Texts are taken apart as lime's `IndexedString` does: at ``\W+``, where capitals matter and what stands between words always stays.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from explainers.errors import InvalidSetting
from explainers.explainer import Problem
from explainers.explanation import Reference
from explainers.games.game import Chosen, of_targets
from explainers.games.sharing import PORTION_SECONDS, distinct
from explainers.model import Model

Words = Literal["distinct", "each"]

#: What lime writes for an absent word where every occurrence is one of its own.
LIME_MASK = "UNKWORDZ"

#: Working memory of a model for one text beyond the text itself, and for each of its pieces: an estimate.
MODEL_ROW_BYTES = 1024
PIECE_BYTES = 64

_BETWEEN = re.compile(r"(\W+)")


class Pieces(NamedTuple):
    """A text taken apart: its pieces in order, the player each belongs to (-1: between words), and the players' words."""

    parts: np.ndarray
    owner: np.ndarray
    words: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class TokenGame:
    """Coalition values of texts from which words are taken away.

    Attributes:
        texts: each text taken apart.
        mask: what stands in the place of an absent word.
        chosen: keeps the wanted outputs.
        reference: what becomes of absent words, in words.
    """

    model: Model
    space: str
    texts: tuple[Pieces, ...]
    mask: str
    chosen: Chosen
    reference: Reference

    @classmethod
    def of(
        cls, problem: Problem, space: str, words: Words = "distinct", mask: str | None = None
    ) -> TokenGame:
        """The game of a problem.

        With ``words="distinct"`` a word is one player wherever it occurs, and is removed where absent; with ``"each"``
        every occurrence is a player, and ``UNKWORDZ`` takes its place: lime's ``bow``. `mask` says what takes its place
        instead (``""``: nothing). Raises `InvalidSetting` for data that are no texts.
        """
        if problem.data.modality != "text":
            raise InvalidSetting(
                f"Only texts have words; these data are of modality {problem.data.modality!r}."
            )
        if words not in ("distinct", "each"):
            raise InvalidSetting(f"The players are 'distinct' words or 'each' of them; got {words!r}.")
        if mask is None:
            mask = "" if words == "distinct" else LIME_MASK
        note = f"absent words are replaced by {mask!r}" if mask else "absent words are removed"
        texts = tuple(pieces_of(text, words) for text in problem.cases.X)
        return cls(
            problem.model, space, texts, mask, of_targets(problem), Reference(1, "baseline", space, note)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Words differ from text to text; `facts` has them."""
        return ("text",)

    @property
    def references(self) -> int:
        """One: the text without its words."""
        return 1

    @property
    def portion_seconds(self) -> float:
        """How long a portion of coalitions should take."""
        return PORTION_SECONDS

    @property
    def pace(self) -> float | None:
        """Seconds that one coalition of one case took the model, where it was asked before."""
        return self.model.pace

    @cached_property
    def row_bytes(self) -> int:
        """Memory that one coalition of the longest text takes: its pieces, the text, and the model's own."""
        pieces = max((len(text.parts) for text in self.texts), default=0)
        return MODEL_ROW_BYTES + PIECE_BYTES * pieces

    @cached_property
    def players(self) -> Bool[np.ndarray, "m u"]:
        """The words of each text, padded with False; none in an empty one."""
        counts = np.array([len(text.words) for text in self.texts], dtype=np.int64)
        return np.arange(counts.max(initial=0)) < counts[:, None]

    def alone(self) -> tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "m 1 k"]]:
        """The answers for the texts as they are, and without their words."""
        m = len(self.texts)
        twice = np.tile(np.arange(m), 2)
        found = self.values(twice, np.concatenate([self.players, np.zeros_like(self.players)]))
        return found[:m, 0], found[m:]

    def values(
        self, which: Int[np.ndarray, " t"], masks: Bool[np.ndarray, "t u"]
    ) -> Float[np.ndarray, "t 1 k"]:
        """Answers for coalition `masks` of the texts at positions `which`; equal strings are asked once."""
        masks = masks & self.players[which]
        first, shared = distinct(which, masks)
        texts = self.written(which[first], masks[first])
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        scores = self.model.scores(list(places), self.space)
        answers = scores[[places[text] for text in texts]]
        return self.chosen(which, answers[shared][:, None])

    def written(self, which: Int[np.ndarray, " t"], masks: Bool[np.ndarray, "t u"]) -> list[str]:
        """The strings that the model is shown."""
        shown = np.hstack([masks, np.ones((len(masks), 1), dtype=bool)])  # the last column: between words
        out = [""] * len(which)
        for case in np.unique(which):
            rows = np.flatnonzero(which == case)
            pieces = self.texts[case]
            parts = np.where(shown[np.ix_(rows, pieces.owner)], pieces.parts, self.mask)
            for row, text in zip(rows, map("".join, parts.tolist()), strict=True):
                out[row] = text
        return out

    def shaped(self, values: Shaped[np.ndarray, "m u *k"]) -> tuple[Shaped[np.ndarray, "_ *k"], ...]:
        """The values of each text's words, ``(words,)`` or ``(words, k)``."""
        return tuple(row[: len(text.words)].copy() for row, text in zip(values, self.texts, strict=True))

    def facts(self, values: Shaped[np.ndarray, "m u *k"]) -> Mapping[str, Any]:
        """``tokens``: the words of each text. ``spans``: for each word the characters ``(start, stop)`` of every occurrence."""
        return {
            "tokens": tuple(text.words for text in self.texts),
            "spans": tuple(_spans(text) for text in self.texts),
        }


def pieces_of(text: str, words: Words) -> Pieces:
    """A text taken apart; its pieces joined give the text again."""
    parts = [part for part in _BETWEEN.split(text) if part]
    owner = np.full(len(parts), -1, dtype=np.int64)
    players: dict[Any, int] = {}
    for place, part in enumerate(parts):
        if not _BETWEEN.match(part):
            owner[place] = players.setdefault(part if words == "distinct" else (place, part), len(players))
    found = np.empty(len(parts), dtype=object)
    found[:] = parts
    return Pieces(found, owner, tuple(key if isinstance(key, str) else key[1] for key in players))


def _spans(text: Pieces) -> tuple[tuple[tuple[int, int], ...], ...]:
    found: list[list[tuple[int, int]]] = [[] for _ in text.words]
    start = 0
    for part, player in zip(text.parts.tolist(), text.owner.tolist(), strict=True):
        if player >= 0:
            found[player].append((start, start + len(part)))
        start += len(part)
    return tuple(map(tuple, found))
