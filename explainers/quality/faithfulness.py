"""Does the score follow the map? Pixels are taken away, or put back, in the order of the map, and the score is watched.

    deletion:  S(x without the t pixels of largest φ),  t = 0 … all      a faithful map makes it fall early
    insertion: S(nothing but the t pixels of largest φ)                  a faithful map makes it rise early

φ at a pixel is the sum of its channels, most positive first; S is the target's score in the map's own space. Each curve has one
number, its area over the share of pixels: the mean score on the way. An area alone says little, so random maps as rough as the map
itself (`explainers.quality.random_maps`) are measured beside it. Pixels of a picture with a side above 256 go together in square cells. Taken-away pixels show the mean colour of the data, the picture
blurred, or an in-painting from what is left.

A picture with holes is unlike anything the model was trained on, and its score may fall for that reason alone (Hooker and others
2019, "A Benchmark for Interpretability Methods in Deep Neural Networks", arXiv 1806.10758): a finding that holds under one fill
only is a finding about the fill. Petsiuk, Das and Saenko 2018, arXiv 1806.07421. Cost: ``2 (steps - 1) (randoms + 1) + 3`` predictions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from jaxtyping import Float, Int

from explainers.dataset import Dataset
from explainers.device import over_chunks, pick
from explainers.errors import InvalidSetting, NotApplicable
from explainers.explainer import Problem
from explainers.explanation import Attribution
from explainers.games.opening import placed
from explainers.gradients.scores import differentiable
from explainers.lazily import lazily
from explainers.model import Model
from explainers.progress import Progress, silent
from explainers.quality.curves import Curve, Faithfulness
from explainers.quality.fills import Fill, Removed, filler
from explainers.quality.random_maps import cell_side, pixel_map, places, random_map, require_one_map

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

Batch = Float[np.ndarray, "n c h w"]

#: How long a portion of predictions may take before progress is reported.
PORTION_SECONDS = 0.25

#: How far the map's own score may be from that of the picture (relative, or absolute below 1): arithmetic, no more.
SAME = 0.01

UNLIKE = "Pictures with holes are unlike the data; compare the fills before believing one of them."


def faithfulness(
    model: Model,
    data: Dataset,
    result: Attribution,
    row: int | Dataset,
    fill: Fill = "mean",
    *,
    steps: int = 20,
    randoms: int = 20,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Faithfulness:
    """Deletion and insertion curves of a map of one picture, with those of random maps.

    Args:
        model, data: as in `explain`; the mean colour is that of the training pictures of `data`.
        result: the map: values ``(1, c, h, w)`` or ``(1, 1, h, w)`` of one target.
        row: the picture that it explains: its position in `data`, or a data set of that one case.
        fill: what pixels show that are taken away: the mean colour, the picture blurred, or an in-painting from the others.
        steps: into how many equal portions the pixels are cut; at most as many as there are pixels.
        randoms: how many random maps; their percentiles are rough below 40.
        seed: of the random maps, and of the order of pixels with equal values.
        progress: called between portions; what it raises stops the computation and passes through.

    Raises:
        NotApplicable: data that are no pictures.
        InvalidSetting: a result of several pictures, of several maps, of all outputs, of another picture or of another size; a setting out of range.
        ModelFailure: the model raised, or answered NaN.
    """
    _require(data, result, fill, steps, randoms)
    cases = row if isinstance(row, Dataset) else data.take([row])
    picture = np.asarray(cases.X, dtype=np.float32)
    if len(picture) != 1 or picture.shape[2:] != result.values.shape[2:]:
        raise InvalidSetting(
            f"The map is of one picture of {_size(result.values)} pixels; the row holds {len(picture)} of {_size(picture)}."
        )
    problem = Problem(model, data, cases, result.targets[0], None, pick(device))
    values, cell = pixel_map(result.values[0]), cell_side(picture.shape[2:])
    maps = [values, *(random_map(values, np.random.default_rng([seed, 1, i])) for i in range(randoms))]
    orders = np.stack([places(map_, np.random.default_rng([seed, 2, i])) for i, map_ in enumerate(maps)])
    counts = np.linspace(0, values.size, min(steps, values.size) + 1).round().astype(np.int64)
    without, words = filler(picture, data, fill, cell)
    with _scorer(problem, result.space) as score:
        _require_same(score(picture), result)
        deleted, inserted = _curves(
            problem,
            maps[0].shape,
            orders,
            counts,
            lambda removed: score(without(removed)),
            progress or silent,
        )
    shares = counts / values.size
    return Faithfulness(
        deletion=Curve(shares, deleted[0], deleted[1:]),
        insertion=Curve(shares, inserted[0], inserted[1:]),
        fill=fill,
        filled_with=words,
        cell=cell,
        space=result.space,
        target=result.targets[0],
        evaluations=3 + 2 * (len(counts) - 2) * len(maps),
        notes=(UNLIKE, *_nothing_to_lose(deleted[0])),
    )


def _curves(
    problem: Problem,
    size: tuple[int, ...],
    orders: Int[np.ndarray, "r p"],
    counts: Int[np.ndarray, " s"],
    ask: Callable[[Removed], Float[np.ndarray, " n"]],
    progress: Progress,
) -> tuple[Float[np.ndarray, "r s"], Float[np.ndarray, "r s"]]:
    """Scores under deletion and under insertion for each order; all of them begin and end at the same two pictures."""
    inner = counts[1:-1]

    def compute(part: slice) -> np.ndarray:
        # first the whole picture and the empty one, which all share; then order by order, deletion before insertion
        at = np.arange(part.start, part.stop) - 2
        removed = np.empty((len(at), orders.shape[1]), dtype=bool)
        for i, job in enumerate(at):
            if job < 0:
                removed[i] = job == -1
                continue
            which, rest = divmod(int(job), 2 * len(inner))
            kind, step = divmod(rest, len(inner))
            removed[i] = (orders[which] < inner[step]) != bool(kind)
        return ask(removed.reshape(len(at), *size))

    device = problem.device if problem.model.module is not None else pick("cpu")
    jobs = 2 + 2 * len(inner) * len(orders)
    row_bytes = problem.cases.X.nbytes * 24  # the activations of a network are many times its input
    pace = problem.model.pace
    found = over_chunks(compute, jobs, row_bytes, device, progress, seconds=PORTION_SECONDS, pace=pace)
    scores = np.concatenate(found).astype(np.float64)
    full, blank = (np.full((len(orders), 1), end) for end in scores[:2])
    between = scores[2:].reshape(len(orders), 2, len(inner))
    return np.hstack([full, between[:, 0], blank]), np.hstack([blank, between[:, 1], full])


@contextlib.contextmanager
def _scorer(problem: Problem, space: str) -> Iterator[Callable[[Batch], Float[np.ndarray, " n"]]]:
    """The target's score in a space, as `Model.scores` gives it, or else from the module."""
    model = problem.model
    if space == model.space or (space == "raw" and "raw" in model.abilities):
        with placed(problem):
            yield lambda batch: problem.of_targets(model.scores(batch, space))
        return
    with differentiable(problem, space) as scores:

        def of_module(batch: Batch) -> np.ndarray:
            with torch.no_grad():
                return problem.of_targets(scores(torch.tensor(batch, device=problem.device)).cpu().numpy())

        yield of_module


def _require(data: Dataset, result: Attribution, fill: str, steps: int, randoms: int) -> None:
    if data.modality != "image":
        raise NotApplicable(
            f"Faithfulness takes pixels away from pictures; these data are of modality {data.modality!r}."
        )
    if not isinstance(result, Attribution) or result.output.ndim != 1:
        raise InvalidSetting(
            f"Faithfulness needs the map of one target; got {type(result).__name__} of "
            f"{'all outputs' if isinstance(result, Attribution) else 'another kind'}. Explain one target."
        )
    if not isinstance(result.values, np.ndarray) or result.values.ndim != 4 or len(result.values) != 1:
        found = getattr(result.values, "shape", "texts")
        raise InvalidSetting(
            f"Faithfulness needs the map of one picture, values (1, c, h, w); got {found}. Explain one row: rows=[3]."
        )
    require_one_map(result, data)
    if fill not in get_args(Fill):
        raise InvalidSetting(f"fill must be one of {', '.join(map(repr, get_args(Fill)))}; got {fill!r}.")
    for name, value, least in (("steps", steps, 2), ("randoms", randoms, 1)):
        if not least <= value <= 1000:
            raise InvalidSetting(f"{name} must be between {least} and 1000; got {value!r}.")


def _require_same(score: Float[np.ndarray, " n"], result: Attribution) -> None:
    """The picture must have the score that the map explains."""
    own, found = float(result.output[0]), float(score[0])
    if abs(found - own) > SAME * max(1.0, abs(own)):
        raise InvalidSetting(
            f"The map explains a score of {own:.4g}, but this row has {found:.4g}: it is of another picture or another model."
        )


def _nothing_to_lose(deleted: Float[np.ndarray, " s"]) -> tuple[str, ...]:
    if deleted[-1] < deleted[0]:
        return ()
    return (
        f"The score is {deleted[0]:.3g} for the picture and {deleted[-1]:.3g} for the filled one: it has nothing to lose, "
        "so the areas say little.",
    )


def _size(pictures: Any) -> str:
    return " × ".join(map(str, pictures.shape[2:]))
