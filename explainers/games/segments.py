"""The game of pictures: players are segments, and absent segments show a fill."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped

from explainers.device import over_chunks
from explainers.errors import InvalidSetting
from explainers.explainer import Problem
from explainers.explanation import Reference
from explainers.games.game import Chosen, of_targets
from explainers.games.segmentation import Segments, segment_means, segmented, square_of
from explainers.games.sharing import PICTURES_SECONDS, distinct
from explainers.lazily import lazily
from explainers.masking import replacement
from explainers.model import Model
from explainers.wrapping.torch_module import home_of, takes_tensors

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: What an absent segment shows: a number, each segment's mean colour, the mean of the data, or the picture itself, blurred.
Fill = float | int | Literal["segment", "mean", "blur"]

#: Bytes of pictures from which a copy of all of them costs more than asking the model twice.
LARGE = 64 * 2**20

#: The activations of a network are many times its input.
MODEL_TIMES = 24


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentGame:
    """Coalition values of pictures whose segments are present or filled.

    A torch module answers on the device where it lies; see `explainers.games.opening.placed`.

    Attributes:
        pictures: as the model takes them.
        segments: the player of each pixel, from 0 in every picture.
        fill: what absent segments show, one for all pictures or one each.
        players: segments of each picture that differ from their fill; padded with False.
        chosen: keeps the wanted outputs.
        reference: what absent segments show, in words.
        square: the side of the squares of pixels that segments are made of, 1 unless the picture is large.
    """

    model: Model
    space: str
    pictures: Float32[np.ndarray, "m c h w"]
    segments: Int[np.ndarray, "m h w"]
    fill: Float32[np.ndarray, "f c h w"]
    players: Bool[np.ndarray, "m u"]
    chosen: Chosen
    reference: Reference
    square: int = 1

    @classmethod
    def of(
        cls,
        problem: Problem,
        space: str,
        segments: Segments = "superpixels",
        about: int = 50,
        baseline: Fill = "segment",
        *,
        all_play: bool = False,
    ) -> SegmentGame:
        """The game of a problem, with about `about` segments in each picture.

        With `all_play`, segments that look like their fill play too, as in lime's law. Raises `InvalidSetting` for data
        that are no pictures, and for unknown segments or baselines.
        """
        if problem.data.modality != "image":
            raise InvalidSetting(
                f"Only pictures have segments; these data are of modality {problem.data.modality!r}."
            )
        pictures = np.asarray(problem.cases.X, dtype=np.float32)
        maps = segmented(pictures, segments, about)
        fill, words = _filled(baseline, pictures, maps, problem)
        players = _present(maps) if all_play else _present(maps, pictures, fill)
        reference = Reference(1, "baseline", space, words)
        square = square_of(maps.shape[1:]) if segments == "superpixels" else 1
        return cls(
            problem.model, space, pictures, maps, fill, players, of_targets(problem), reference, square
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Maps have no names of features."""
        return ("picture",)

    @property
    def references(self) -> int:
        """One: the fill."""
        return 1

    @property
    def portion_seconds(self) -> float:
        """How long a portion of coalitions should take."""
        return PICTURES_SECONDS

    @property
    def pace(self) -> float | None:
        """Seconds that one coalition of one case took the model, where it was asked before."""
        return self.model.pace

    @property
    def row_bytes(self) -> int:
        """Memory that one coalition of one picture takes: its pixels and where they belong, and the model's own.

        An accelerator has memory of its own, which it divides by itself; of that, only the coalition takes any here.
        """
        device = self._device
        return self._painted_bytes if device is None or device.type == "cpu" else self.players.shape[1] + 64

    def alone(self) -> tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "m 1 k"]]:
        """The answers for the pictures as they are, and with all segments filled."""
        m = len(self.pictures)
        twice = np.tile(np.arange(m), 2)
        fill = self.fill if len(self.fill) == m else np.broadcast_to(self.fill, self.pictures.shape)
        if self.pictures.nbytes < LARGE:
            scores = self.model.scores(np.concatenate([self.pictures, fill]), self.space)
        else:  # a copy of both would be large
            scores = np.concatenate([self.model.scores(shown, self.space) for shown in (self.pictures, fill)])
        chosen = self.chosen(twice, scores[:, None])
        return chosen[:m, 0], chosen[m:]

    def values(
        self, which: Int[np.ndarray, " t"], masks: Bool[np.ndarray, "t u"]
    ) -> Float[np.ndarray, "t 1 k"]:
        """Answers for coalition `masks` of the pictures at positions `which`; equal coalitions are asked once."""
        masks = masks & self.players[which]
        first, shared = distinct(which, masks)
        device = self._device
        if device is None or not len(first):
            scores = self.model.scores(self.painted(which[first], masks[first]), self.space)
        else:
            scores = self._scores_on(device, which[first], masks[first])
        return self.chosen(which, scores[shared][:, None])

    def painted(
        self, which: Int[np.ndarray, " t"], masks: Bool[np.ndarray, "t u"]
    ) -> Float32[np.ndarray, "t c h w"]:
        """The pictures that the model is shown: present segments as they are, all others filled."""
        _, channels, height, width = self.pictures.shape
        out = np.empty((len(which), channels, height, width), dtype=np.float32)
        for case in np.unique(
            which
        ):  # of one case the segments are looked up at once, which takes half the memory
            rows = np.flatnonzero(which == case)
            present = np.take(masks[rows], self.segments[case].ravel(), axis=1).reshape(-1, 1, height, width)
            out[rows] = np.where(present, self.pictures[case], self.fill[case % len(self.fill)])
        return out

    @property
    def _device(self) -> torch.device | None:
        """Where pictures are painted for a torch module; others take them from main memory."""
        module = self.model.module
        return home_of(module) if module is not None and takes_tensors(self.model) else None

    @property
    def _painted_bytes(self) -> int:
        channels, height, width = self.pictures.shape[1:]
        return int(height * width * (4 * channels * MODEL_TIMES + 16))

    @cached_property
    def _placed(self) -> dict[torch.device, tuple[torch.Tensor, ...]]:
        """Pictures, fill and segments, by the device on which they are."""
        return {}

    def _scores_on(
        self, device: torch.device, which: Int[np.ndarray, " t"], masks: Bool[np.ndarray, "t u"]
    ) -> Float[np.ndarray, "t k"]:
        """Scores of pictures that are painted on a device, in portions."""
        if device not in self._placed:
            arrays = (self.pictures, self.fill, self.segments)
            self._placed[device] = tuple(_on(array, device) for array in arrays)
        pictures, fill, segments = self._placed[device]
        rows, shown = torch.as_tensor(which, device=device), torch.as_tensor(masks, device=device)

        def painted(part: slice) -> torch.Tensor:
            cases, case = rows[part], int(which[part.start])
            if (which[part] == case).all():  # of one case nothing is copied
                present = shown[part].index_select(1, segments[case].flatten())
                own, instead = pictures[case], fill[case % len(fill)]
            else:
                present = shown[part].gather(1, segments[cases].flatten(1))
                own, instead = pictures[cases], fill[cases % len(fill)]
            return torch.where(present.reshape(-1, 1, *segments.shape[1:]), own, instead)

        def compute(part: slice) -> np.ndarray:
            return self.model.scores(painted(part), self.space)

        return np.concatenate(over_chunks(compute, len(which), self._painted_bytes, device))

    def shaped(self, values: Shaped[np.ndarray, "m u *k"]) -> Shaped[np.ndarray, "m 1 h w *k"]:
        """Maps on which each pixel has the value of its segment, never divided among them."""
        everyone = np.arange(len(values))[:, None, None]
        return np.asarray(values[everyone, self.segments][:, None])

    def facts(self, values: Shaped[np.ndarray, "m u *k"]) -> Mapping[str, Any]:
        """The segment of each pixel ``(m, h, w)``, and the values by segment; beyond a picture's own number they are 0."""
        found = {"segments": self.segments, "segment_values": values}
        if self.square == 1:
            return found
        side = f"{self.square} × {self.square}"
        note = f"Large pictures: segments were found in copies that have one pixel for {side}, so their edges are no finer."
        return {**found, "notes": (note,)}


def _on(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """The same memory where that is allowed: nothing writes into it."""
    return (
        torch.as_tensor(array, device=device) if array.flags.writeable else torch.tensor(array, device=device)
    )


def _filled(
    baseline: Fill, pictures: np.ndarray, maps: np.ndarray, problem: Problem
) -> tuple[np.ndarray, str]:
    if baseline == "segment":
        return segment_means(pictures, maps), "each segment in its mean colour"
    if isinstance(baseline, str) and baseline not in ("mean", "blur"):
        raise InvalidSetting(f"A baseline is a number, 'segment', 'mean' or 'blur'; got {baseline!r}.")
    return replacement(baseline, pictures, problem.data, problem.data.X)


def _present(
    maps: Int[np.ndarray, "m h w"], pictures: np.ndarray | None = None, fill: np.ndarray | None = None
) -> Bool[np.ndarray, "m u"]:
    """Which segments each picture has, or which have a pixel that differs from its fill."""
    found = np.zeros((len(maps), int(maps.max(initial=-1)) + 1), dtype=bool)
    for case, (labels, present) in enumerate(zip(maps, found, strict=True)):
        if pictures is None or fill is None:
            kept = labels.ravel()
        else:
            kept = labels[(pictures[case] != fill[case % len(fill)]).any(axis=0)]
        present[:] = np.bincount(kept, minlength=len(present)) > 0
    return found
