"""Means of probability curves from vectors of rows: against predictions row by row, and against double precision."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

import explainers as ex
from explainers.device import pick
from explainers.explainer import Problem
from explainers.trees.effects.curves import Runs, curves
from explainers.trees.effects.linked import Events, linked_moments
from explainers.trees.effects.moments import Moments
from explainers.trees.effects.one_pass import tree_curves
from explainers.trees.effects.paths import Paths
from explainers.trees.effects.view import TreeView
from tests.explainers.random_trees import COLUMNS, cases, model_of, random_ensemble

#: How far a probability's last step in single precision may be off.
NEAR = 2e-7

#: Grids of four of the five columns: some values twice, missing ones, categories that nobody knows, a single place.
GRIDS = {
    0: np.arange(-1.0, 8.0, 0.5),
    1: np.array([3.0]),
    3: np.array([2.0, np.nan, 2.0, 2.0]),
    4: np.array([-1.0, 0, 1, 2, 3, 4, 9, np.nan]),
}
UNITS = [0, 1, -1, 2, 3]

BOOSTED = [
    pytest.param("logistic", 1, False, id="two-classes"),
    pytest.param("softmax", 3, False, id="three-classes"),
    pytest.param("softmax", 3, True, id="three-classes-in-each-tree"),
]
boosted = pytest.mark.parametrize(("link", "outputs", "joint"), BOOSTED)


def plan(ensemble):
    codes = []
    for column, grid in GRIDS.items():
        Z = np.zeros((len(grid), COLUMNS))
        Z[:, column] = grid
        codes.append(ensemble.questions.codes(Z))
    paths = Paths.of(ensemble, UNITS)
    return paths, Runs.of(ensemble, paths, codes)


def on_grids(runs, found):
    """Without the places behind the grids."""
    return np.concatenate([found[a : b - 1] for a, b in itertools.pairwise(runs.start)])


def moments(ensemble, X, target):
    paths, runs = plan(ensemble)
    codes = ensemble.questions.codes(X)
    found = linked_moments(ensemble, paths, runs, Events.of(ensemble, paths, runs), codes, target)
    return found.count, on_grids(runs, found.mean), on_grids(runs, found.squares)


def in_double(ensemble, X, target):
    """Each row's sums at each place, through the link of the ensemble."""
    paths, runs = plan(ensemble)
    sums = on_grids(runs, curves(ensemble, paths, runs, ensemble.questions.codes(X)))
    found = ensemble.linked(np.moveaxis(sums, 1, 2).reshape(-1, ensemble.outputs))[:, target]
    return found.reshape(len(sums), len(X))


@boosted
@pytest.mark.parametrize("target", [0, 1])
def test_the_mean_is_that_of_predictions_with_the_value_put_in(link, outputs, joint, target):
    ensemble, X = random_ensemble(2, link, outputs, joint=joint), cases(150).matrix
    count, mean, squares = moments(ensemble, X, target)
    expected = []
    for column, grid in GRIDS.items():
        for value in grid:
            moved = X.copy()
            moved[:, column] = value
            expected.append(ensemble.predict(moved)[:, target])
    assert count == len(X)
    np.testing.assert_allclose(mean, np.mean(expected, axis=1), rtol=0, atol=NEAR)
    np.testing.assert_allclose(
        np.sqrt(squares / len(X)), np.std(expected, axis=1), rtol=0, atol=NEAR, err_msg="spread"
    )
    assert np.ptp(mean) > 0.05  # the curves are not flat


@boosted
@pytest.mark.parametrize("rows", [1, 63, 64, 65, 1500])
def test_any_number_of_rows_is_averaged(link, outputs, joint, rows, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    ensemble, X = random_ensemble(5, link, outputs, joint=joint), cases(rows, seed=1).matrix
    expected = in_double(ensemble, X, 1)
    count, mean, squares = moments(ensemble, X, 1)
    assert count == rows
    np.testing.assert_allclose(mean, expected.mean(axis=1), rtol=0, atol=NEAR)
    np.testing.assert_allclose(np.sqrt(squares / rows), expected.std(axis=1), rtol=0, atol=NEAR)


@boosted
@pytest.mark.parametrize("times", [1e-6, 8.0, 1e4])
def test_one_rows_probability_is_near_however_sure(link, outputs, joint, times):
    """Sums from a millionth to thousands: nothing overflows, and a probability beyond all doubt is 0 or 1."""
    ensemble = random_ensemble(3, link, outputs, joint=joint)
    ensemble = dataclasses.replace(ensemble, value=times * ensemble.value, base=times * ensemble.base)
    X = cases(6, seed=2).matrix
    expected = in_double(ensemble, X, 1)
    for row in range(len(X)):
        _, mean, squares = moments(ensemble, X[row : row + 1], 1)
        np.testing.assert_allclose(mean, expected[:, row], rtol=0, atol=NEAR)
        assert (squares == 0).all()


@boosted
def test_rows_that_are_all_alike_have_no_spread(link, outputs, joint):
    ensemble = random_ensemble(4, link, outputs, joint=joint)
    _, mean, squares = moments(ensemble, np.repeat(cases(1).matrix, 130, axis=0), 1)
    assert (squares == 0).all()
    assert ((mean > 0) & (mean < 1)).all()


def test_single_leaves_say_the_same_everywhere():
    ensemble = random_ensemble(0, "logistic", trees=3, depth=0)
    _, mean, squares = moments(ensemble, cases(70).matrix, 1)
    np.testing.assert_allclose(mean, ensemble.predict(cases(1).matrix)[0, 1], rtol=0, atol=NEAR)
    assert (squares == 0).all()


@boosted
def test_places_where_nothing_happens_are_not_computed(link, outputs, joint):
    """A value that stands twice or more in a row has the probabilities of the first."""
    ensemble = random_ensemble(2, link, outputs, joint=joint)
    paths, runs = plan(ensemble)
    events = Events.of(ensemble, paths, runs)
    third = int(runs.start[2])
    assert events.same_as[third + 3] == events.same_as[third + 2]
    assert (events.same_as[runs.start[:-1]] == runs.start[:-1]).all()
    assert (np.diff(events.first) >= 0).all()
    assert events.first[-1] == len(events.word) == len(events.worth)


@boosted
def test_cases_with_their_own_class_each_and_single_curves(link, outputs, joint):
    truth = "two" if outputs == 1 else "three"
    ensemble, data = random_ensemble(1, link, outputs, joint=joint), cases(300, truth=truth)
    model = model_of(ensemble, known=True)
    view = TreeView.of(Problem(model, data, data, None, None, pick("cpu")), "probability")
    assert view is not None
    assert view.boosted
    targets = np.random.default_rng(0).integers(0, max(2, outputs), len(data))
    columns, grids = list(GRIDS), [np.unique(data.matrix[:, j][~np.isnan(data.matrix[:, j])]) for j in GRIDS]
    whole = tree_curves(view, data.matrix, columns, grids, targets, len(data))
    some = tree_curves(view, data.matrix, columns, grids, targets, 7)
    assert "single precision" in some.kernel
    assert "single precision" not in whole.kernel
    for j in range(len(columns)):
        np.testing.assert_array_equal(some.kept[j], whole.kept[j][some.rows])
        np.testing.assert_allclose(some.mean[j], whole.mean[j], rtol=0, atol=NEAR)
        np.testing.assert_allclose(some.standard_error[j], whole.standard_error[j], rtol=0, atol=NEAR / 10)
        np.testing.assert_allclose(whole.mean[j], whole.kept[j].mean(axis=0), rtol=0, atol=1e-14)


def test_portions_add_up(monkeypatch):
    ensemble, data = random_ensemble(6, "softmax", 3), cases(200, truth="three")
    model, explainer = model_of(ensemble, known=True), ex.PartialDependence(grid=5, curves=3)
    whole = ex.explain(model, data, explainer, target=2)
    monkeypatch.setattr("explainers.device.chunk_rows", lambda row_bytes, device: 33)
    parts = ex.explain(model, data, explainer, target=2)
    for field in ("mean", "standard_error"):
        for one, other in zip(getattr(whole, field), getattr(parts, field), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=NEAR)


def test_moments_of_two_sets_are_those_of_all_rows():
    curves_ = np.random.default_rng(0).normal(size=(4, 30)) + 100.0
    joined = Moments.none(4) + Moments.of(curves_[:, :11]) + Moments.of(curves_[:, 11:])
    assert joined.count == 30
    np.testing.assert_allclose(joined.mean, curves_.mean(axis=1), rtol=1e-14)
    np.testing.assert_allclose(
        joined.standard_error(30), curves_.std(axis=1, ddof=1) / np.sqrt(30), rtol=1e-10
    )
    assert np.isnan(Moments.of(curves_[:, :1]).standard_error(1)).all()
