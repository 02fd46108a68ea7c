"""Large pictures are computed in parts, on reduced copies or one after the other: what comes out is the same, or as near as said."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

import explainers as ex
from explainers import device
from explainers.digest import LARGE, digest_of
from explainers.games.segmentation import square_of, superpixels
from explainers.games.segments import SegmentGame
from explainers.masking import LARGE_ROW, _mean_of, blurred
from explainers.methods.occlusion import patches_of
from explainers.quality import fills, inpainting
from explainers.sampling.pictures import maps


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    ).eval()


def opened(n=3, side=12):
    pictures = np.random.default_rng(1).random((n, 3, side, side)).astype(np.float32)
    return ex.Model.wrap(network(), classes=["a", "b", "c"], output="raw"), ex.Dataset.from_images(pictures)


def shapes(kind, height, width):
    found = np.zeros((height, width), dtype=np.float32)
    if kind == "noise":
        found = np.random.default_rng(0).random((height, width)).astype(np.float32)
    elif kind == "corner":
        found[: height // 3, : width // 2] = 1
    else:  # the border is repeated outwards: half of the weight at the edge lies on one row of pixels
        found[0], found[:, -1] = 1, 1
    return found


@pytest.mark.parametrize("kind", ["noise", "corner", "border"])
@pytest.mark.parametrize(("height", "width"), [(255, 280), (256, 300), (531, 400)])
def test_a_large_blur_is_that_of_all_pixels(kind, height, width):
    plane = shapes(kind, height, width)
    wanted = gaussian_filter(
        plane.astype(np.float64), min(height, width) / 8, mode="nearest", truncate=3, output=np.float64
    )
    found = blurred(np.stack([plane, 2 * plane])[None])[0]
    assert np.ptp(wanted) > 0.01
    allowed = 1e-3 if min(height, width) >= 256 else 1e-5
    assert np.abs(found[0] - wanted).max() < allowed
    np.testing.assert_allclose(found[1], 2 * found[0], atol=1e-6)


def test_a_uniform_large_picture_stays_as_it_is():
    np.testing.assert_allclose(blurred(np.full((1, 1, 300, 270), 0.7, np.float32)), 0.7, atol=1e-6)


def test_segments_of_a_large_picture_are_those_of_its_squares(monkeypatch):
    monkeypatch.setattr("explainers.games.segmentation.LARGEST", 40)
    height, width = 45, 30
    picture = np.zeros((1, height, width), dtype=np.float32)
    picture[:, :, 20:] = 1
    picture += 0.02 * np.random.default_rng(0).random(picture.shape, dtype=np.float32)
    found = superpixels(picture, 8)
    square = square_of(picture.shape[1:])
    assert square == 2
    small = np.array(
        [[picture[0, y : y + 2, x : x + 2].mean(dtype=np.float64) for x in range(0, width, 2)]
         for y in range(0, height, 2)]
    )  # fmt: skip
    of_small = superpixels(small[None], 8)
    assert np.array_equal(found, np.kron(of_small, np.ones((2, 2), np.int64))[:height, :width])
    assert not set(found[:, :20].ravel()) & set(found[:, 20:].ravel())


def test_a_result_says_that_segments_are_of_a_reduced_copy(monkeypatch):
    model, data = opened(1, 32)
    assert "notes" not in ex.explain(model, data, ex.Lime(segments=4, samples=50), rows=[0]).diagnostics
    monkeypatch.setattr("explainers.games.segmentation.LARGEST", 8)
    for method in (ex.Lime(segments=4, samples=50), ex.KernelShap(segments=4, budget=16)):
        (note,) = ex.explain(model, data, method, rows=[0]).diagnostics["notes"]
        assert "one pixel for 4 × 4" in note


def test_pictures_painted_together_and_alone_have_the_same_scores():
    model, data = opened()
    problem = ex.explainer.Problem(model, data, data, "a", None, torch.device("cpu"))
    game = SegmentGame.of(problem, "raw", "grid", 9, "mean")
    which = np.array([0, 0, 1, 2, 2, 1])
    masks = np.random.default_rng(0).random((6, 9)) < 0.5
    alone = [game.values(which[i : i + 1], masks[i : i + 1])[0] for i in range(6)]
    np.testing.assert_allclose(game.values(which, masks), alone, atol=1e-6)
    by_hand = model.raw(game.painted(which, masks))[:, :1]
    np.testing.assert_allclose(game.values(which, masks)[:, 0], by_hand, atol=1e-6)


@pytest.mark.parametrize("target", ["b", "all"])
@pytest.mark.parametrize(
    "method",
    [
        ex.SmoothGrad(samples=8), ex.SmoothGrad(samples=8, variant="variance"),
        ex.ExpectedGradients(samples=8, background=2), ex.Rise(masks=12, cells=3), ex.Rise(masks=12, cells=3, keep=0.3),
    ],
    ids=repr,
)  # fmt: skip
def test_one_large_picture_at_a_time_is_the_same(monkeypatch, method, target):
    model, data = opened()
    usual = ex.explain(model, data, method, rows=[0, 2], target=target, device="cpu")
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 1)
    monkeypatch.setattr("explainers.gradients.paths.noise.AT_A_TIME", 50)
    monkeypatch.setattr(maps, "AT_A_TIME", 50)
    monkeypatch.setattr(maps, "LARGE_ROW", 0)
    found = ex.explain(model, data, method, rows=[0, 2], target=target, device="cpu")
    assert np.ptp(usual.values) > 0
    scale = np.abs(usual.values).max()
    np.testing.assert_allclose(found.values, usual.values, atol=1e-5 * scale)
    np.testing.assert_allclose(found.standard_error, usual.standard_error, atol=1e-4 * scale)


def test_means_of_large_pictures_are_added_up_one_by_one(monkeypatch):
    known = np.random.default_rng(0).random((5, 2, 6, 7)).astype(np.float32)
    rows = np.array([0, 2, 3])
    plain = known[rows].mean(axis=0, dtype=np.float64)[None]
    np.testing.assert_allclose(_mean_of(known, rows), plain, rtol=1e-6)
    monkeypatch.setattr("explainers.masking.LARGE_ROW", 0)
    np.testing.assert_allclose(_mean_of(known, rows), plain, rtol=1e-6)
    colours = plain.mean(axis=(0, 2, 3))
    np.testing.assert_allclose(fills._colour(known, rows), colours, rtol=1e-6)
    monkeypatch.setattr(fills, "LARGE_ROW", 0)
    np.testing.assert_allclose(fills._colour(known, rows), colours, rtol=1e-6)
    assert LARGE_ROW > 0


def test_a_picture_alone_is_painted_as_among_others(monkeypatch):
    random = np.random.default_rng(0)
    across = np.linspace(0, 6, 192)
    smooth = np.sin(across)[:, None] + np.cos(across)
    pictures = (smooth + 0.05 * random.random((2, 3, 192, 192))).astype(np.float32)
    missing = (random.random((2, 12, 12)) < 0.5).repeat(16, axis=1).repeat(16, axis=2)
    together = inpainting.inpainted(pictures, missing, np.zeros(3))
    np.testing.assert_array_equal(inpainting.inpainted(pictures[:1], missing[:1], np.zeros(3)), together[:1])
    monkeypatch.setattr(inpainting, "LARGE", 24)  # few sweeps above
    few = inpainting.inpainted(pictures, missing, np.zeros(3))
    holes = np.broadcast_to(missing[:, None], few.shape)
    np.testing.assert_array_equal(few[~holes], pictures[~holes])
    # both are rough solutions of the same equation: as near to each other as to the true one
    assert 0 < np.abs(few - together)[holes].mean() < 0.02 * smooth.std()


def test_bytes_become_numbers_and_the_callers_array_stays():
    raw = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    wanted = np.moveaxis(raw, 3, 1).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(ex.Dataset.from_images(raw).X, wanted)
    own = np.full((2, 3, 6, 5), 51, dtype=np.float32)
    np.testing.assert_allclose(ex.Dataset.from_images(own, pixel_scale=255.0).X, 0.2, rtol=1e-6)
    assert (own == 51).all()


def test_a_large_array_has_the_digest_of_its_bytes():
    values = np.random.default_rng(0).random((LARGE // 8 + 3, 2))[:, ::-1]
    content = str((values.dtype.str, values.shape)).encode() + values.tobytes()
    wanted = hashlib.sha256(len(content).to_bytes(8, "little") + content).hexdigest()
    assert digest_of(values) == wanted


@pytest.mark.parametrize(
    ("size", "window", "stride"), [((9, 7), 3, 2), ((20, 20), None, None), ((5, 6), 9, 4)]
)
def test_occlusion_counts_its_windows_without_listing_them(size, window, stride):
    method = ex.Occlusion(window=window, stride=stride)
    data = ex.Dataset.from_images(np.zeros((1, 1, *size), np.float32))
    assert method.evaluations(opened()[0], data, 1) == 1 + len(patches_of(size, *method._sizes(size)))
