"""Deletion and insertion: exact on linear models, fair opponents, honest fills, and nothing left behind."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import spsolve
from torch import nn

import explainers as ex
from explainers.quality import random_maps
from explainers.quality.inpainting import inpainted
from tests.cases import (
    annotations_not_executed,
    black_box_pictures,
    cnn_three_classes,
    cnn_two_classes,
    network,
    pictures,
    planted_patches,
)

SIDE = 6


class WeightedSum(nn.Module):
    """Σ w x over all pixels and channels, one number."""

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(weights.astype(np.float32)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.weights).sum(dim=(1, 2, 3))


def weighted(channels: int = 2, seed: int = 0):
    """The model, its data, the weights, and what each pixel adds to the score against the mean colour."""
    weights = np.random.default_rng(seed).normal(size=(channels, SIDE, SIDE)).astype(np.float32)
    model = ex.Model.wrap(WeightedSum(weights))
    data = ex.Dataset.from_images(pictures(5, channels=3 if channels == 3 else 1, side=SIDE))
    colour = data.X.mean(axis=(0, 2, 3), dtype=np.float64)
    return model, data, weights, (weights * (data.X[2] - colour[:, None, None])).sum(axis=0)


def map_of(model, data, row, values, **more):
    """A result whose values we choose."""
    found = ex.explain(model, data, ex.Saliency(), rows=[row], **more)
    return dataclasses.replace(found, values=np.asarray(values, dtype=np.float64)[None])


def slowly(score, picture, values, instead, steps):
    """The definition: sort, take away one portion after the other, ask."""
    order = np.argsort(-values.ravel())
    deleted, inserted = [], []
    for share in np.linspace(0, 1, steps + 1):
        first = np.zeros(values.size, dtype=bool)
        first[order[: int(np.round(share * values.size))]] = True
        first = first.reshape(values.shape)
        for scores, gone in ((deleted, first), (inserted, ~first)):
            left = picture.copy()
            left[:, gone] = instead(left, gone)[:, gone]
            scores.append(score(left))
    return np.array(deleted), np.array(inserted)


def exact_painting(picture, gone):
    """Laplace's equation for the missing pixels, solved as it stands."""
    index = -np.ones(gone.shape, dtype=int)
    index[gone] = np.arange(gone.sum())
    entries, right = [], np.zeros((gone.sum(), len(picture)))
    for y, x in zip(*np.nonzero(gone), strict=True):
        beside = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        beside = [(v, u) for v, u in beside if 0 <= v < gone.shape[0] and 0 <= u < gone.shape[1]]
        entries.append((index[y, x], index[y, x], float(len(beside))))
        for v, u in beside:
            if gone[v, u]:
                entries.append((index[y, x], index[v, u], -1.0))
            else:
                right[index[y, x]] += picture[:, v, u]
    rows, columns, values = zip(*entries, strict=True)
    painted = picture.astype(np.float64).copy()
    painted[:, gone] = spsolve(csc_matrix((values, (rows, columns))), right).reshape(-1, len(picture)).T
    return painted


# --- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_of_a_linear_model_the_curves_are_the_sums_of_its_contributions(channels):
    model, data, _, adds = weighted(channels)
    full = float(model.predict(data.X[[2]])[0, 0])
    found = ex.faithfulness(model, data, map_of(model, data, 2, adds[None]), 2, steps=SIDE * SIDE)
    lost = np.concatenate([[0], np.cumsum(np.sort(adds.ravel())[::-1])])
    np.testing.assert_allclose(found.deletion.scores, full - lost, atol=1e-4)
    np.testing.assert_allclose(found.insertion.scores, full - lost[-1] + lost, atol=1e-4)
    np.testing.assert_allclose(found.deletion.shares, np.arange(37) / 36)
    area = (full - lost)[1:-1].sum() / 36 + (full + full - lost[-1]) / 72
    assert found.deletion.area == pytest.approx(area, abs=1e-4)
    assert found.evaluations == 3 + 2 * 35 * 21


def test_the_perfect_map_beats_every_random_one_and_its_reverse_is_beaten():
    model, data, _, adds = weighted()
    best, worst = (
        ex.faithfulness(model, data, map_of(model, data, 2, sign * adds[None]), 2) for sign in (1, -1)
    )
    assert best.beaten == (20, 20)
    assert worst.beaten == (0, 0)
    assert best.sentence == (
        "The score follows this map: taking its strongest pixels away lowers the score faster than 20 of 20 random maps do; "
        "putting them back raises it faster than 20 of 20 random maps do."
    )
    assert worst.sentence.startswith("The score does not follow this map better than random ones: taking ")
    assert best.deletion.area < best.deletion.random_areas.min()
    assert worst.deletion.area > worst.deletion.random_areas.max()
    assert best.insertion.area > best.insertion.random_areas.max()
    low, high = best.deletion.band.low[10], best.deletion.band.high[10]
    assert best.deletion.scores[10] < low < high < worst.deletion.scores[10]


def counts(
    fell: int, rose: int, r: int = 20, target: object = "a", space: str = "probability"
) -> ex.Faithfulness:
    """A report in which the map beats so many of `r` random maps."""
    shares, flat = np.array([0.0, 1.0]), np.zeros(2)
    fewer, more = (np.where(np.arange(r) < beaten, 1.0, -1.0)[:, None] + flat for beaten in (fell, rose))
    curves = ex.Curve(shares, flat, fewer), ex.Curve(shares, flat, -more)
    return ex.Faithfulness(*curves, "mean", "a colour", 1, space, target, 0, ())


@pytest.mark.parametrize(
    ("beaten", "verdict"),
    [
        ((19, 19, 20), "The score follows this map"),
        ((18, 20, 20), "The score follows this map only in part"),
        ((14, 0, 20), "The score follows this map only in part"),
        ((14, 14, 20), "The score follows this map only in part"),
        ((13, 13, 20), "The score does not follow this map better than random ones"),
        ((9, 9, 9), "The score follows this map"),
        ((8, 8, 8), "Too few random maps to tell whether the score follows this map"),
    ],
)
def test_the_verdict_comes_before_the_counts(beaten, verdict):
    fell, rose, r = beaten
    assert counts(*beaten).beaten == (fell, rose)
    assert counts(*beaten).sentence == (
        f"{verdict}: taking its strongest pixels away lowers the score faster than {fell} of {r} random maps do; "
        f"putting them back raises it faster than {rose} of {r} random maps do."
    )


def test_of_a_contrast_the_sentence_says_what_the_score_is():
    contrast = ex.Contrast(2, 7)
    estimates, raw = counts(3, 1, target=contrast), counts(3, 1, target=contrast, space="raw")
    assert estimates.sentence.endswith(
        " do. The score is the model's estimate of “2” less that of “7”, in percentage points."
    )
    assert raw.sentence.endswith(" do. The score is that of “2” less that of “7”.")


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        ("mean", "the mean colour of 5 pictures"),
        ("blur", "the picture itself, blurred"),
        ("inpaint", "colours painted in from the pixels that are left"),
    ],
)
def test_a_fill_is_named_by_what_the_pixels_show(fill, words):
    model, data, _, adds = weighted()
    found = ex.faithfulness(model, data, map_of(model, data, 2, adds[None]), 2, fill, steps=2, randoms=1)
    assert found.filled_with == words


def test_random_maps_lose_in_proportion_to_what_is_taken_away():
    model, data, _, adds = weighted()
    found = ex.faithfulness(model, data, map_of(model, data, 2, adds[None]), 2, randoms=400, steps=6)
    ends = found.deletion.scores[[0, -1]]
    straight = ends[0] + (ends[1] - ends[0]) * found.deletion.shares
    error = found.deletion.random.std(axis=0) / 20
    assert (np.abs(found.deletion.band.mean - straight) <= 4 * error + 1e-6).all()
    assert found.deletion.random.shape == (400, 7)
    assert error[3] > 0


@pytest.mark.parametrize("fill", ["mean", "blur", "inpaint"])
def test_a_slow_second_implementation_agrees(fill):
    from explainers.masking import blurred

    model, data = cnn_three_classes().model, cnn_three_classes().data
    result = ex.explain(model, data, ex.Saliency(space="probability"), rows=[3], target="b")
    found = ex.faithfulness(model, data, result, 3, fill, steps=5, randoms=1)
    colour = data.X.mean(axis=(0, 2, 3), dtype=np.float64).astype(np.float32)[:, None, None]
    instead = {
        "mean": lambda left, gone: np.broadcast_to(colour, left.shape),
        "blur": lambda left, gone: blurred(data.X[[3]])[0],
        "inpaint": lambda left, gone: inpainted(left[None], gone[None], colour[:, 0, 0])[0],
    }[fill]

    def score(picture):
        return model.predict(picture[None])[0, 1]

    deleted, inserted = slowly(score, data.X[3], result.values[0].sum(axis=0), instead, 5)
    np.testing.assert_allclose(found.deletion.scores, deleted, atol=1e-6)
    np.testing.assert_allclose(found.insertion.scores, inserted, atol=1e-6)
    assert np.ptp(deleted) > 1e-3
    assert (found.fill, found.space, found.target) == (fill, "probability", "b")


def test_the_score_is_that_of_the_result():
    case = cnn_three_classes()
    for space, column in (("raw", case.model.raw), ("probability", case.model.predict)):
        for target in ("a", "c", ex.Contrast("a", "c")):
            result = ex.explain(case.model, case.data, ex.Saliency(space=space), rows=[1], target=target)
            found = ex.faithfulness(case.model, case.data, result, 1, steps=3, randoms=1)
            scores = column(case.data.X[[1]])[0]
            expected = (
                scores[0] - scores[2] if isinstance(target, ex.Contrast) else scores["abc".index(target)]
            )
            assert found.deletion.scores[0] == pytest.approx(expected, abs=1e-5)
            assert found.target == target
            assert found.space == space


def test_a_space_that_only_the_module_has():
    """A network that ends in a sigmoid gives no raw scores; its gradients are of them all the same."""
    case = cnn_two_classes()
    result = ex.explain(case.model, case.data, ex.Saliency(space="raw"), rows=[0], target="ill")
    found = ex.faithfulness(case.model, case.data, result, 0, steps=4, randoms=2)
    p = case.model.predict(case.data.X[[0]])[0, 1]
    assert found.deletion.scores[0] == pytest.approx(np.log(p / (1 - p)), abs=1e-4)
    assert found.space == "raw"


@pytest.mark.parametrize("fill", ["mean", "blur", "inpaint"])
def test_maps_of_a_planted_patch_beat_random_maps_under_every_fill(fill):
    model, data, _ = planted_patches(4)
    fell = rose = 0
    for row in range(4):
        result = ex.explain(model, data, ex.Occlusion(window=4, baseline="mean"), rows=[row], target="patch")
        found = ex.faithfulness(model, data, result, row, fill, steps=8, randoms=10)
        fell, rose = fell + found.beaten[0], rose + found.beaten[1]
    assert fell >= 34  # of 40: a random spot may happen to lie on the patch
    assert rose >= 34


def test_pixels_of_a_large_picture_go_together():
    weights = np.random.default_rng(0).normal(size=(1, 300, 270)).astype(np.float32)
    model = ex.Model.wrap(WeightedSum(weights))
    data = ex.Dataset.from_images(np.random.default_rng(1).random((2, 1, 300, 270)).astype(np.float32))
    adds = (weights * (data.X[1] - data.X.mean(dtype=np.float64))).sum(axis=0)
    found = ex.faithfulness(model, data, map_of(model, data, 1, adds[None]), 1, steps=4, randoms=1)
    assert found.cell == 2
    cells = np.sort(adds.reshape(150, 2, 135, 2).sum(axis=(1, 3)).ravel())[::-1]
    counts = (found.deletion.shares * cells.size).round().astype(int)
    lost = np.concatenate([[0.0], np.cumsum(cells)])[counts]
    np.testing.assert_allclose(found.deletion.scores, model.predict(data.X[[1]])[0, 0] - lost, atol=0.05)
    assert np.ptp(lost) > 100


def test_cells_at_the_far_borders_are_cut():
    values = np.random.default_rng(0).normal(size=(5, 7))
    found = random_maps.in_cells(values, 3)
    slow = [[values[y : y + 3, x : x + 3].mean() for x in (0, 3, 6)] for y in (0, 3)]
    np.testing.assert_allclose(found, slow)
    np.testing.assert_array_equal(random_maps.in_cells(values, 1), values)


def test_a_black_box_and_a_picture_that_is_not_in_the_data():
    case = black_box_pictures()
    own = ex.Dataset.from_images(pictures(1, seed=9))
    result = ex.explain(case.model, case.data, ex.Occlusion(window=2), own)
    found = ex.faithfulness(case.model, case.data, result, own, steps=4)
    assert found.deletion.scores[0] == pytest.approx(case.model.predict(own.X)[0, 0])


# --- in-painting ------------------------------------------------------------------------------------------------------


def test_painting_is_near_to_the_solution_of_laplace():
    side = 24
    y, x = np.mgrid[:side, :side] / side
    picture = np.stack([np.sin(5 * x + 2 * y), x * y]).astype(np.float32)
    rng = np.random.default_rng(0)
    for gone in ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1, rng.random((side, side)) < 0.8, (x + y < 0.5)):
        painted = inpainted(picture[None], gone[None], np.zeros(2))[0]
        expected = exact_painting(picture, gone)
        np.testing.assert_array_equal(painted[:, ~gone], picture[:, ~gone])
        assert np.abs(painted - expected).max() < 0.04
        assert np.abs(expected[:, gone] - picture[:, gone]).max() > 0.0
        start = np.abs(expected - picture[:, ~gone].mean(axis=1)[:, None, None])[:, gone].max()
        assert start > 0.2  # so that 0.04 says something


def test_painting_keeps_what_it_must():
    rng = np.random.default_rng(1)
    flat = np.full((1, 3, 5, 7), 0.3, dtype=np.float32)
    some = rng.random((1, 5, 7)) < 0.7
    np.testing.assert_allclose(inpainted(flat, some, np.zeros(3)), flat, rtol=1e-6)
    noise = rng.random((2, 3, 5, 7)).astype(np.float32)
    painted = inpainted(noise, np.repeat(some, 2, axis=0), np.zeros(3))
    known = noise[:, :, ~some[0]]
    assert (painted.min(axis=(2, 3)) >= known.min(axis=2)).all()
    assert (painted.max(axis=(2, 3)) <= known.max(axis=2)).all()
    np.testing.assert_array_equal(inpainted(noise[1:], some, np.zeros(3)), painted[1:])  # batch or alone
    nothing = inpainted(noise, np.ones((2, 5, 7), dtype=bool), np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(nothing, np.array([0.1, 0.2, 0.3])[None, :, None, None] + 0 * noise, rtol=1e-6)


# --- random maps ------------------------------------------------------------------------------------------------------


def test_random_maps_are_as_rough_as_the_map():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] / 32
    smooth, rough = np.exp(-((x - 0.3) ** 2 + (y - 0.6) ** 2) / 0.05), rng.normal(size=(32, 32))

    def roughness(values):
        flat = random_maps.ranks(values).reshape(32, 32)
        return np.abs(np.diff(flat)).mean()

    for like in (smooth, rough):
        found = [roughness(random_maps.random_map(like, np.random.default_rng(i))) for i in range(5)]
        np.testing.assert_allclose(found, roughness(like), rtol=0.6)
    assert roughness(rough) > 5 * roughness(smooth)


def test_ranks_and_their_correlation_are_those_of_pandas():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, 40).astype(float), rng.normal(size=40)
    ranked = [pd.Series(values).rank() for values in (first, second)]
    np.testing.assert_array_equal(random_maps.ranks(first), ranked[0] - 1)
    assert random_maps.rank_correlation(first, second) == pytest.approx(np.corrcoef(ranked)[0, 1])
    assert random_maps.rank_correlation(np.zeros(40), second) == 0.0


def test_equal_values_stand_in_a_random_order():
    place = random_maps.places(np.zeros((8, 8)), np.random.default_rng(0))
    assert sorted(place) == list(range(64))
    assert np.abs(np.corrcoef(place, np.arange(64))[0, 1]) < 0.5


# --- manners ----------------------------------------------------------------------------------------------------------


def test_the_same_seed_has_the_same_curves_and_another_has_others():
    case = cnn_three_classes()
    result = ex.explain(case.model, case.data, ex.Saliency(), rows=[0], target="a")
    first, again, other = (
        ex.faithfulness(case.model, case.data, result, 0, "inpaint", steps=4, randoms=3, seed=s)
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.deletion.random, again.deletion.random)
    np.testing.assert_array_equal(first.insertion.scores, again.insertion.scores)
    assert np.abs(first.deletion.random - other.deletion.random).max() > 0


def test_portions_change_nothing(monkeypatch):
    from explainers import device

    case = cnn_three_classes()
    result = ex.explain(case.model, case.data, ex.Saliency(), rows=[0], target="a")
    once = ex.faithfulness(case.model, case.data, result, 0, steps=4, randoms=2)
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 1)
    ticks = []
    one = ex.faithfulness(
        case.model, case.data, result, 0, steps=4, randoms=2, progress=lambda *a, **k: ticks.append(a[:2])
    )
    np.testing.assert_allclose(one.deletion.random, once.deletion.random, atol=1e-6)
    assert ticks == [(i, 20) for i in range(1, 21)]


def test_a_cancel_passes_through_and_leaves_the_module_as_it_was(monkeypatch):
    from explainers import device

    case = cnn_two_classes()
    module = case.model.module
    module.train()
    result = ex.explain(case.model, case.data, ex.Saliency(space="raw"), rows=[0])
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 1)

    def stop(done, total, partial=None):
        if done == 3:
            raise ex.Cancelled

    with pytest.raises(ex.Cancelled):
        ex.faithfulness(case.model, case.data, result, 0, steps=4, progress=stop)
    assert module.training
    assert all(p.requires_grad for p in module.parameters())
    assert not any(child._forward_hooks for child in module.modules())


def test_more_steps_than_pixels_are_as_many_as_pixels():
    model, data, _, adds = weighted()
    found = ex.faithfulness(model, data, map_of(model, data, 2, adds[None]), 2, steps=1000, randoms=1)
    assert len(found.deletion.shares) == SIDE * SIDE + 1


def test_a_score_that_cannot_fall_is_noted():
    model, data, _, adds = weighted()
    result = map_of(model, data, 2, adds[None])
    flipped = ex.Model.wrap(WeightedSum(-np.abs(model.module.weights.detach().numpy())))
    bright = ex.Dataset.from_images(np.ones((1, 1, SIDE, SIDE), dtype=np.float32))
    result = ex.explain(flipped, data, ex.Saliency(), bright)
    found = ex.faithfulness(flipped, data, result, bright, steps=3, randoms=1)
    assert "nothing to lose" in found.notes[-1]
    plain = ex.faithfulness(model, data, map_of(model, data, 2, adds[None]), 2, steps=3, randoms=1)
    assert ("nothing to lose" in plain.notes[-1]) == (plain.deletion.scores[-1] >= plain.deletion.scores[0])


def test_the_table_holds_both_curves():
    model, data, _, adds = weighted()
    found = ex.faithfulness(model, data, map_of(model, data, 2, adds[None]), 2, steps=3, randoms=4)
    table = found.to_frame()
    assert list(table["curve"]) == ["deletion"] * 4 + ["insertion"] * 4
    np.testing.assert_array_equal(table["score"][:4], found.deletion.scores)
    assert (table["random_2.5"] <= table["random_97.5"]).all()


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_in_words():
    case = cnn_three_classes()
    model, data = case.model, case.data
    one = ex.explain(model, data, ex.Saliency(), rows=[0], target="a")
    several = ex.explain(model, data, ex.Saliency(), rows=[0, 1], target="a")
    every = ex.explain(model, data, ex.Saliency(), rows=[0], target="all")
    six = ex.explain(model, data, ex.GradCam(variant="all"), rows=[0], target="a")
    small = dataclasses.replace(one, values=one.values[:, :, :4])
    refusals = [
        (several, 0, {}, r"the map of one picture, values \(1, c, h, w\); got \(2, 3, 8, 8\)"),
        (every, 0, {}, "one target; got Attribution of all outputs"),
        (six, 0, {}, r"holds 6 maps of each picture: grad-cam, .*Explain with one of them"),
        (small, 0, {}, "The map is of one picture of 4 × 8 pixels; the row holds 1 of 8 × 8"),
        (one, data, {}, "the row holds 6 of 8 × 8"),
        (one, 1, {}, "of another picture or another model"),
        (one, 99, {}, r"Rows must lie in 0\.\.5"),
        (one, 0, {"fill": "black"}, "fill must be one of 'mean', 'blur', 'inpaint'; got 'black'"),
        (one, 0, {"steps": 1}, "steps must be between 2 and 1000; got 1"),
        (one, 0, {"randoms": 0}, "randoms must be between 1 and 1000; got 0"),
    ]
    for result, row, more, words in refusals:
        with annotations_not_executed(), pytest.raises(ex.InvalidSetting, match=words):
            ex.faithfulness(model, data, result, row, **more)


def test_tables_are_refused():
    from tests.cases import mlp_one_logit

    case = mlp_one_logit()
    result = ex.explain(case.model, case.data, ex.Saliency(), rows=[0])
    with pytest.raises(
        ex.NotApplicable, match="takes pixels away from pictures; these data are of modality 'table'"
    ):
        ex.faithfulness(case.model, case.data, result, 0)


def test_a_model_that_fails_says_so():
    module = network(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(36, 1))
    data = ex.Dataset.from_images(pictures())
    model = ex.Model.wrap(module)
    result = ex.explain(model, data, ex.Saliency(), rows=[0])

    def broken(X):
        if len(X) > 1:
            raise RuntimeError("no more")
        return model.predict(X)

    with pytest.raises(ex.ModelFailure, match="no more"):
        ex.faithfulness(ex.Model.wrap(broken), data, result, 0)
