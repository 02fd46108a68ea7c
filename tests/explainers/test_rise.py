"""RISE: what random masks find, against its closed form for linear models and against plain loops over stored masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import explainers as ex
from explainers import device
from explainers.masking import blurred
from explainers.sampling.pictures.masks import BLOCK, PictureMasks
from tests.cases import (
    annotations_not_executed,
    black_box_pictures,
    cnn_three_classes,
    gru_sequences,
    pictures,
    planted_patches,
    share_inside,
)


def curved(X):
    """Three outputs, not linear in the pixels, float64."""
    weights = np.random.default_rng(1).normal(size=(int(np.prod(X.shape[1:])), 3))
    return np.tanh(X.reshape(len(X), -1).astype(np.float64) @ weights / 3) ** 3 + [0, 1, 2]


def masks_by_loops(law: PictureMasks, pairs: int) -> np.ndarray:
    """All masks ``(pairs, 2, h, w)``, pixel by pixel: bilinear between the four nodes around it."""
    grids, shifts = law.grids(np.arange(pairs))
    (height, width), cells = law.size, law.cells
    tall, wide = -(-height // cells), -(-width // cells)
    found = np.zeros((pairs, 2, height, width))
    for j in range(pairs):
        for y in range(height):
            for x in range(width):
                v, u = (y + shifts[j, 0]) / tall, (x + shifts[j, 1]) / wide
                top, left = int(v), int(u)
                near = grids[:, j, top : top + 2, left : left + 2]
                found[j, :, y, x] = np.array([top + 1 - v, v - top]) @ near @ [left + 1 - u, u - left]
    return found


def plain_loops(predict, x, fill, masks, keep):
    """Values and errors ``(h, w, k)`` of one picture: one mask after the other, all of them kept."""
    scores = np.array([[predict((fill + (x - fill) * m)[None])[0] for m in pair] for pair in masks])
    n = len(masks)
    said = np.empty((n, *masks.shape[2:], scores.shape[2]))
    centre, end, start = predict(x[None])[0], min(16, n), 0
    while start < n:
        for j in range(start, end):
            away = masks[j] - keep
            said[j] = sum(away[i][..., None] * (scores[j, i] - centre) for i in range(2)) / 2 / keep
        centre, start, end = scores[:end].mean(axis=(0, 1)), end, min(2 * end, n)
    return said.mean(axis=0), said.std(axis=0, ddof=1) / np.sqrt(n)


@pytest.mark.parametrize(
    ("keep", "cells", "size"), [(0.5, 3, (8, 8)), (0.3, 3, (7, 10)), (0.8, 2, (5, 4)), (0.5, 9, (4, 6))]
)
def test_plain_loops_over_stored_masks_agree(keep, cells, size):
    X = np.random.default_rng(0).random((2, 3, *size)).astype(np.float32)
    explainer = ex.Rise(masks=75, cells=cells, keep=keep, baseline=0.25, seed=3)
    result = ex.explain(ex.Model.wrap(curved), ex.Dataset.from_images(X), explainer, target="all")
    masks = masks_by_loops(PictureMasks(cells, keep, 3, size), 37)
    assert result.values.shape == (2, 1, *size, 3)
    for i in range(2):
        values, error = plain_loops(curved, X[i], np.float32(0.25), masks, keep)
        np.testing.assert_allclose(result.values[i, 0], values, atol=1e-6)
        np.testing.assert_allclose(result.standard_error[i, 0], error, atol=1e-6)
    assert result.diagnostics["masks"] == 74
    assert result.diagnostics["evaluations"] == 2 * 75


def test_the_map_is_the_papers_less_the_mean_score():
    """S_p = sum of S_i M_i(p) / (N keep), and pairs of complements leave its mean out by themselves."""
    x = pictures(1)
    result = ex.explain(
        ex.Model.wrap(curved), ex.Dataset.from_images(x), ex.Rise(masks=64, cells=2), target=1
    )
    masks = masks_by_loops(PictureMasks(2, 0.5, 0, (8, 8)), 32).reshape(64, 8, 8)
    scores = curved(x * masks[:, None])[:, 1]
    papers = np.einsum("i,ihw->hw", scores, masks) / (64 * 0.5)
    np.testing.assert_allclose(result.values[0, 0], papers - scores.mean(), atol=1e-6)
    assert result.diagnostics["mean_score"] == pytest.approx([scores.mean()])


def common(side: int, cells: int) -> np.ndarray:
    """What masks of two rows have in common, ``(side, side)``, as a share of keep (1 - keep)."""
    cell = -(-side // cells)
    total = np.zeros((side, side))
    for shift in range(cell):
        place = (np.arange(side) + shift) / cell
        weights = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells + 2)))
        total += weights @ weights.T / cell
    return total


def expected_map(held: np.ndarray, cells: int, keep: float) -> np.ndarray:
    """Of a model that adds up pixels, which are worth ``held`` (h, w) more than their fill."""
    down, across = (common(side, cells) for side in held.shape)
    return (1 - keep) * down @ held @ across


LINEAR = np.random.default_rng(7).normal(size=(1, 6, 8))


def linear(X):
    return (X * LINEAR).sum(axis=(1, 2, 3)) + 5.0


@pytest.mark.parametrize("keep", [0.5, 0.3])
def test_a_linear_model_has_the_map_that_its_masks_promise(keep):
    x = np.random.default_rng(2).random((1, 1, 6, 8)).astype(np.float32)
    explainer = ex.Rise(masks=3000, cells=3, keep=keep, baseline=0.5)
    result = ex.explain(ex.Model.wrap(linear), ex.Dataset.from_images(x), explainer)
    wanted = expected_map(((x[0] - 0.5) * LINEAR)[0], 3, keep)
    away = (result.values[0, 0] - wanted) / result.standard_error[0, 0]
    assert np.abs(away).max() < 4.5
    assert np.abs(result.values[0, 0] - wanted).max() < 0.2 * np.abs(wanted).max()


@pytest.mark.parametrize("keep", [0.5, 0.3])
def test_intervals_hold_what_they_say(keep):
    x = np.random.default_rng(2).random((1, 1, 6, 8)).astype(np.float32)
    wanted = expected_map((x[0] * LINEAR)[0], 3, keep)
    model, data = ex.Model.wrap(linear), ex.Dataset.from_images(x)
    held = []
    with annotations_not_executed():
        for seed in range(50):
            found = ex.explain(model, data, ex.Rise(masks=120, cells=3, keep=keep, seed=seed))
            held.append(np.abs(found.values[0, 0] - wanted) <= 1.96 * found.standard_error[0, 0])
    assert 0.91 <= np.mean(held) <= 0.98


@pytest.mark.parametrize(("keep", "size"), [(0.5, (9, 12)), (0.2, (8, 8)), (0.7, (5, 5))])
def test_masks_have_the_same_law_at_every_pixel(keep, size):
    law = PictureMasks(4, keep, 0, size)
    masks = law.drawn(np.arange(4000), torch.device("cpu")).numpy()
    assert masks.shape == (2, 4000, *size)
    assert masks.min() >= 0
    assert masks.max() <= 1 + 1e-6
    if keep == 0.5:
        np.testing.assert_allclose(masks.sum(axis=0), 1, atol=1e-6)
    assert (masks[0] * masks[1] == 0).any()
    variance = keep * (1 - keep) * common(size[0], 4)[0, 0] * common(size[1], 4)[0, 0]
    for half in masks:
        assert np.abs(half.mean(axis=0) - keep).max() < 4.5 * np.sqrt(variance / 4000)
        np.testing.assert_allclose(half.var(axis=0), variance, rtol=0.15)


def test_any_pair_is_drawn_again_alone():
    law = PictureMasks(3, 0.5, 1, (6, 6))
    pairs = np.array([2 * BLOCK + 5, 0, BLOCK - 1])
    every = law.drawn(np.arange(3 * BLOCK), torch.device("cpu"))
    torch.testing.assert_close(law.drawn(pairs, torch.device("cpu")), every[:, pairs])
    assert not torch.equal(every[:, :BLOCK], every[:, BLOCK : 2 * BLOCK])
    other = PictureMasks(3, 0.5, 2, (6, 6)).drawn(pairs, torch.device("cpu"))
    assert not torch.equal(other, every[:, pairs])


def test_a_model_that_sees_nothing_has_an_empty_map():
    model = ex.Model.wrap(lambda X: np.full(len(X), 3.25))
    for keep in (0.5, 0.4):
        result = ex.explain(model, ex.Dataset.from_images(pictures(2)), ex.Rise(masks=80, keep=keep))
        assert (result.values == 0).all()
        assert (result.standard_error == 0).all()


def test_maps_of_a_sum_of_models_are_the_sum_of_maps():
    data, explainer = ex.Dataset.from_images(pictures(2, channels=3)), ex.Rise(masks=60, keep=0.4)
    parts = [
        ex.explain(ex.Model.wrap(lambda X, i=i: curved(X)[:, i]), data, explainer).values for i in range(2)
    ]
    both = ex.explain(ex.Model.wrap(lambda X: 2 * curved(X)[:, 0] - curved(X)[:, 1]), data, explainer).values
    np.testing.assert_allclose(both, 2 * parts[0] - parts[1], atol=1e-6)


def test_a_contrast_is_the_difference_of_its_maps():
    case, explainer = cnn_three_classes(), ex.Rise(masks=40, cells=2)
    every = ex.explain(case.model, case.data, explainer, target="all").values
    contrast = ex.explain(case.model, case.data, explainer, target=ex.Contrast("a", "c"))
    np.testing.assert_allclose(contrast.values, every[..., 0] - every[..., 2], atol=1e-6)
    one = ex.explain(case.model, case.data, explainer, target="b")
    np.testing.assert_allclose(one.values, every[..., 1], atol=1e-6)
    assert (one.space, one.output.shape) == ("probability", (6,))


def test_a_module_is_asked_like_any_other_function():
    case, explainer = cnn_three_classes(), ex.Rise(masks=40, baseline="blur", space="raw")
    with_module = ex.explain(case.model, case.data, explainer, target="b")
    plain = ex.Model.wrap(case.model.raw)
    without = ex.explain(plain, case.data, ex.Rise(masks=40, baseline="blur"), target=1)
    np.testing.assert_allclose(with_module.values, without.values, atol=1e-6)
    np.testing.assert_allclose(with_module.standard_error, without.standard_error, atol=1e-6)


def test_what_hidden_places_show():
    X = pictures(4)
    data = ex.Dataset.from_images(X, role=["train"] * 3 + ["test"])
    masks = masks_by_loops(PictureMasks(3, 0.5, 0, (8, 8)), 20)
    for baseline, fill in (("mean", X[:3].mean(axis=0)), ("blur", blurred(X[3:])[0])):
        explainer = ex.Rise(masks=40, cells=3, baseline=baseline)
        result = ex.explain(ex.Model.wrap(curved), data, explainer, rows=[3], target=2)
        values, _ = plain_loops(curved, X[3], fill, masks, 0.5)
        np.testing.assert_allclose(result.values[0, 0], values[..., 2], atol=1e-6)
    assert result.reference.note == "the picture itself, blurred"


def test_portions_make_no_difference(monkeypatch):
    asked = []

    def count(X):
        asked.append(len(X))
        return curved(X)

    data, explainer = ex.Dataset.from_images(pictures(3)), ex.Rise(masks=90, keep=0.4)
    whole = ex.explain(ex.Model.wrap(count), data, explainer, target="all")
    large = len(asked)
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 2**16)
    small = ex.explain(ex.Model.wrap(count), data, explainer, target="all")
    assert len(asked) > 3 * large
    np.testing.assert_allclose(small.values, whole.values, atol=1e-6)
    np.testing.assert_allclose(small.standard_error, whole.standard_error, atol=1e-6)
    assert max(asked[large:]) <= 2**16 // (24 * 256)


def test_a_case_is_done_once_its_intervals_are_narrow():
    X = pictures(3)
    X[1] *= 0.05
    X[2] = 0
    data, model = ex.Dataset.from_images(X), ex.Model.wrap(lambda X: X.mean(axis=(1, 2, 3)))
    explainer = ex.Rise(masks=8000, cells=3, tolerance=0.004)
    result = ex.explain(model, data, explainer)
    bright, dark, black = result.diagnostics["masks_of_each"]
    assert black == dark == 64  # the first look
    assert 64 < bright < 8000
    assert result.diagnostics["within_tolerance"] == [True] * 3
    assert result.diagnostics["evaluations"] == bright + dark + black + 3
    assert (1.96 * result.standard_error).max() <= 0.004
    alone = ex.explain(model, data, explainer, rows=[0])
    np.testing.assert_allclose(alone.values, result.values[:1], atol=1e-7)
    short = ex.explain(model, data, ex.Rise(masks=100, cells=3, tolerance=0.004))
    assert short.diagnostics["masks_of_each"] == [100, 64, 64]
    assert short.diagnostics["within_tolerance"] == [False, True, True]


def test_coarser_maps_come_first():
    seen = []

    def progress(done, total, partial=None):
        if partial is not None:
            seen.append((done, partial))

    data = ex.Dataset.from_images(pictures(2))
    whole = ex.explain(ex.Model.wrap(curved), data, ex.Rise(masks=240, cells=3), target=0, progress=progress)
    assert [part.diagnostics["masks"] for _, part in seen] == [32, 64, 128]
    for done, part in seen:
        assert part.diagnostics["evaluations"] == 2 * done + 2
        short = ex.explain(
            ex.Model.wrap(curved), data, ex.Rise(masks=part.diagnostics["masks"], cells=3), target=0
        )
        np.testing.assert_allclose(part.values, short.values, atol=1e-7)
    assert (seen[0][1].standard_error.mean() > whole.standard_error.mean()).all()


def test_masks_narrow_the_error_and_seeds_change_the_map():
    data, model = ex.Dataset.from_images(pictures(1)), ex.Model.wrap(curved)

    def run(masks, seed):
        return ex.explain(model, data, ex.Rise(masks=masks, cells=3, seed=seed), target=0)

    few, many, other = run(100, 0), run(1600, 0), run(100, 1)
    assert many.standard_error.mean() == pytest.approx(few.standard_error.mean() / 4, rel=0.15)
    np.testing.assert_array_equal(run(100, 0).values, few.values)
    assert not np.array_equal(few.values, other.values)


def test_the_planted_patch_is_found():
    model, data, inside = planted_patches(40)
    values = ex.explain(model, data, ex.Rise(masks=600, cells=8, space="raw"), target="patch").values
    assert share_inside(values, inside) >= 0.95


def test_refusals():
    case = gru_sequences()
    with pytest.raises(ex.NotApplicable, match="Explains image data; these are of modality sequence"):
        ex.explain(case.model, case.data, ex.Rise())
    with pytest.raises(ex.InvalidSetting, match=r"between 0.01 and 0.99; got 1\.0"):
        ex.Rise(keep=1.0)
    case = black_box_pictures()
    with pytest.raises(ex.InvalidSetting, match="no raw score"):
        ex.explain(case.model, case.data, ex.Rise(space="raw"))
    assert ex.cost(case.model, case.data, ex.Rise(masks=101)) == 6 * 101
