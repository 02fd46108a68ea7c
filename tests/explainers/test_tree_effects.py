"""One pass over the trees gives what asking the model gives: curves, importance, local effects, interactions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

import explainers as ex
from explainers.trees.effects.curves import Runs, curves, mean_curves, reached
from explainers.trees.effects.moved import moved
from explainers.trees.effects.paths import Paths
from tests.explainers.random_trees import COLUMNS, cases, model_of, random_ensemble

LINKS = [
    pytest.param("identity", 1, False, "number", id="regression"),
    pytest.param("exp", 1, False, "number", id="counts"),
    pytest.param("logistic", 1, False, "two", id="two-classes"),
    pytest.param("probability", 1, False, "two", id="forest-of-two-classes"),
    pytest.param("softmax", 3, False, "three", id="three-classes"),
    pytest.param("softmax", 3, True, "three", id="three-classes-in-each-tree"),
]
every_link = pytest.mark.parametrize(("link", "outputs", "joint", "truth"), LINKS)


def both(explainer, link, outputs, joint, truth, n=90, **call):
    """The result with the trees, and the result of asking."""
    ensemble, data = random_ensemble(1, link, outputs, joint=joint), cases(n, truth=truth)
    found, asked = (
        ex.explain(model_of(ensemble, known=known), data, explainer, **call) for known in (True, False)
    )
    assert found.diagnostics["kernel"].startswith("tree")
    assert asked.diagnostics["kernel"] == "predictions"
    assert found.diagnostics["evaluations"] < asked.diagnostics["evaluations"]
    return found, asked


def assert_equal(found, asked):
    for field in dataclasses.fields(asked):
        if field.name in ("diagnostics", "provenance"):
            continue
        one, other = getattr(found, field.name), getattr(asked, field.name)
        parts = zip(one, other, strict=True) if isinstance(other, tuple) else [(one, other)]
        for a, b in parts:
            if isinstance(b, np.ndarray):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10, err_msg=field.name)
            else:
                assert a == b, field.name


# --- the kernels against prediction after prediction -----------------------------------------------------------------


@pytest.mark.parametrize("planes", [True, False], ids=["planes-of-leaves", "words-of-rows"])
@pytest.mark.parametrize(("outputs", "joint"), [(1, False), (3, False), (3, True)])
def test_moving_a_unit_gives_the_sums_of_the_moved_rows(outputs, joint, planes, monkeypatch):
    monkeypatch.setattr("explainers.trees.effects.planes.MOST_LEAVES", 256 if planes else 1)
    ensemble, X = random_ensemble(0, outputs=outputs, joint=joint), cases(700).matrix
    codes, random = ensemble.questions.codes(X), np.random.default_rng(0)
    units = [0, 1, 1, -1, 2]
    orders = [random.permutation(len(X)) for _ in range(7)]
    total, change = moved(ensemble, units, 4, codes, [codes[:, order] for order in orders])
    np.testing.assert_allclose(total.T, ensemble.raw(X), atol=1e-12)
    for unit in range(3):
        for repeat, order in enumerate(orders):
            Y = X.copy()
            for column in np.flatnonzero(np.array(units) == unit):
                Y[:, column] = X[order, column]
            np.testing.assert_allclose((total + change[unit, repeat]).T, ensemble.raw(Y), atol=1e-11)
    assert (change[3] == 0).all()  # a unit of no column
    into = np.full((outputs, 900), 7.0), np.full((4, 7, outputs, 900), 7.0)
    moved(ensemble, units, 4, codes, np.stack([codes[:, order] for order in orders]), into, 150)
    for part, whole in zip(into, (total, change), strict=True):
        np.testing.assert_array_equal(part[..., 150:850], whole)
        assert (part[..., :150] == 7.0).all()
        assert (part[..., 850:] == 7.0).all()


@pytest.mark.parametrize(("outputs", "joint"), [(1, False), (3, False), (3, True)])
def test_curves_and_their_mean_are_the_sums_at_the_grid(outputs, joint):
    ensemble, X = random_ensemble(2, outputs=outputs, joint=joint), cases(200).matrix
    units = [0, 1, -1, 2, 3]
    grids = [
        np.arange(-1.0, 8.0, 0.5),
        np.array([3.0]),
        np.array([2.0, np.nan, 2.0]),
        np.array([-1.0, 0, 1, 2, 3, 4, 9, np.nan]),
    ]
    grids_of = dict(zip((0, 1, 3, 4), grids, strict=True))
    codes = []
    for column, grid in grids_of.items():
        Z = np.zeros((len(grid), COLUMNS))
        Z[:, column] = grid
        codes.append(ensemble.questions.codes(Z))
    paths = Paths.of(ensemble, units)
    runs = Runs.of(ensemble, paths, codes)
    own = ensemble.questions.codes(X)
    single = curves(ensemble, paths, runs, own)
    mean = mean_curves(ensemble, paths, runs, reached(ensemble, paths, own), len(X))
    for unit, (column, grid) in enumerate(grids_of.items()):
        for place, value in enumerate(grid, runs.start[unit]):
            Y = X.copy()
            Y[:, column] = value
            np.testing.assert_allclose(single[place].T, ensemble.raw(Y), atol=1e-11)
            np.testing.assert_allclose(mean[place], ensemble.raw(Y).mean(axis=0), atol=1e-11)


def test_single_leaves_one_row_and_no_row():
    ensemble = random_ensemble(0, trees=3, depth=0)
    X = cases(3).matrix
    for n in (0, 1):
        codes = ensemble.questions.codes(X[:n])
        total, change = moved(ensemble, range(COLUMNS), COLUMNS, codes, [codes])
        np.testing.assert_allclose(total.T, ensemble.raw(X[:n]))
        assert change.shape == (COLUMNS, 1, 1, n)
        assert (change == 0).all()


# --- the methods against themselves without trees ---------------------------------------------------------------------


@every_link
def test_curves_equal_those_of_asking(link, outputs, joint, truth):
    found, asked = both(ex.PartialDependence(grid=6), link, outputs, joint, truth)
    assert_equal(found, asked)


@every_link
def test_the_mean_is_over_all_cases_whatever_is_kept(link, outputs, joint, truth):
    call = {"target": 1} if outputs > 1 else {}
    found, asked = both(ex.PartialDependence(grid=5, curves=11), link, outputs, joint, truth, **call)
    # the last step to a boosted classifier's probability is in single precision
    near = 2e-7 if link in ("logistic", "softmax") else 1e-10
    for part, atol in (("mean", near), ("curves", 1e-10)):
        for a, b in zip(getattr(found, part), getattr(asked, part), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=atol)
    assert found.curves[0].shape[0] == 11
    np.testing.assert_array_equal(found.diagnostics["curve_rows"], asked.diagnostics["curve_rows"])
    counted = link in ("identity", "probability")
    assert ("counts" in found.diagnostics["kernel"]) is counted
    for j in range(COLUMNS):  # where rows are only counted, the error is that of the curves that are kept
        rows = found.curves[j] if counted else None
        expected = asked.standard_error[j] if rows is None else rows.std(axis=0, ddof=1) / np.sqrt(90)
        np.testing.assert_allclose(found.standard_error[j], expected, rtol=1e-9, atol=max(near / 10, 1e-12))


@every_link
def test_importance_equals_that_of_asking(link, outputs, joint, truth):
    found, asked = both(
        ex.PermutationImportance(repeats=3, groups=(("b", "d"),)), link, outputs, joint, truth
    )
    assert_equal(found, asked)


@every_link
def test_local_effects_equal_those_of_asking(link, outputs, joint, truth):
    found, asked = both(ex.AccumulatedLocalEffects(grid=4), link, outputs, joint, truth)
    assert_equal(found, asked)


@pytest.mark.parametrize(
    ("link", "outputs", "joint", "truth", "call"),
    [
        ("identity", 1, False, "number", {}),
        ("identity", 3, False, "number", {"target": 1}),
        ("identity", 3, True, "number", {"target": 2}),
        ("probability", 1, False, "two", {}),
        ("probability", 1, False, "two", {"target": 0}),
    ],
)
def test_interactions_equal_those_of_asking(link, outputs, joint, truth, call):
    found, asked = both(ex.InteractionStrength(cases=70), link, outputs, joint, truth, **call)
    assert_equal(found, asked)


@pytest.mark.parametrize("explainer", [ex.PartialDependence(space="raw", grid=3), ex.AccumulatedLocalEffects(space="raw"), ex.InteractionStrength(space="raw", cases=9)], ids=lambda e: type(e).__name__)  # fmt: skip
@pytest.mark.parametrize("target", [0, 1])
def test_raw_scores_of_either_class(explainer, target):
    assert_equal(*both(explainer, "logistic", 1, False, "two", target=target))


def test_interactions_of_a_curved_output_are_asked_for():
    ensemble, data = random_ensemble(1, "logistic"), cases(20, truth="two")
    result = ex.explain(model_of(ensemble, known=True), data, ex.InteractionStrength(cases=5))
    assert result.diagnostics["kernel"] == "predictions"


def test_a_model_that_answers_something_else_than_its_trees_is_asked():
    ensemble, data = random_ensemble(1), cases(30)
    model = ex.Model.wrap(lambda X: ensemble.predict(np.asarray(X, dtype=float))[:, 0] + 1.0)
    model.__dict__["trees"] = ensemble
    for explainer in (
        ex.PartialDependence(grid=3),
        ex.PermutationImportance(repeats=1),
        ex.AccumulatedLocalEffects(),
    ):
        assert ex.explain(model, data, explainer).diagnostics["kernel"] == "predictions"


def test_small_portions_and_one_thread_give_the_same(monkeypatch):
    ensemble, data = random_ensemble(4), cases(300)
    model = model_of(ensemble, known=True)
    explainers = (
        ex.PartialDependence(grid=5, cases=300),
        ex.PermutationImportance(repeats=2),
        ex.AccumulatedLocalEffects(),
    )
    whole = [ex.explain(model, data, explainer) for explainer in explainers]
    monkeypatch.setattr("explainers.device.chunk_rows", lambda row_bytes, device: 77)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for explainer, expected in zip(explainers, whole, strict=True):
        assert_equal(ex.explain(model, data, explainer), expected)


@pytest.mark.parametrize("explainer", [ex.PartialDependence(grid=3, curves=5), ex.PermutationImportance(repeats=2), ex.AccumulatedLocalEffects(), ex.InteractionStrength(cases=9)], ids=lambda e: type(e).__name__)  # fmt: skip
def test_progress_rises_to_the_end_and_cancels(explainer, monkeypatch):
    ensemble, data = random_ensemble(5), cases(40)
    model = model_of(ensemble, known=True)
    monkeypatch.setattr("explainers.device.chunk_rows", lambda row_bytes, device: 7)
    ticks: list[float] = []
    ex.explain(model, data, explainer, progress=lambda done, total, partial=None: ticks.append(done / total))
    assert ticks == sorted(ticks)
    assert ticks[-1] == 1.0
    assert len(ticks) > 1

    def stop(done, total, partial=None):
        raise ex.Cancelled("enough")

    with pytest.raises(ex.Cancelled, match="enough"):
        ex.explain(model, data, explainer, progress=stop)


def test_repeats_that_do_not_fit_together_give_the_same(monkeypatch):
    ensemble, data = random_ensemble(6), cases(50)
    model, explainer = model_of(ensemble, known=True), ex.PermutationImportance(repeats=5)
    whole = ex.explain(model, data, explainer)
    monkeypatch.setattr("explainers.methods.permutation_importance.ANSWER_BYTES", 8 * 50 * COLUMNS * 2)
    assert_equal(ex.explain(model, data, explainer), whole)


@pytest.mark.parametrize(("metric", "target"), [("auc", None), ("auc", 0), ("auc", 1), ("accuracy", None)])
def test_any_share_of_the_units_gives_the_same_scores(metric, target, monkeypatch):
    """One unit at a time, and each thread some of them; a feature that is the same everywhere loses nothing at all."""
    ensemble, whole = random_ensemble(3, "logistic"), cases(300, truth="two")
    data = ex.Dataset.from_frame(whole.X.assign(c=3.0, y=whole.y), target="y")
    model, explainer = model_of(ensemble, known=True), ex.PermutationImportance(metric=metric, repeats=3)
    asked = ex.explain(model_of(ensemble, known=False), data, explainer, target=target)
    for rows, least in ((1, 1), (2**21, 1), (2**21, 2**14)):
        monkeypatch.setattr("explainers.methods.permutation_importance.SCORED_ROWS", rows)
        monkeypatch.setattr("explainers.methods.permutation_importance.ROWS_PER_THREAD", least)
        found = ex.explain(model, data, explainer, target=target)
        assert_equal(found, asked)
        assert found.values[2] == 0.0
        assert found.diagnostics["kernel"].startswith("tree moves")


def test_columns_made_from_one_feature_move_together():
    """A pipeline's one-hot columns belong to the feature they were made from."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"ward": random.choice(["east", "north", "west"], 80), "age": random.normal(size=80)}
    )
    hot = np.column_stack([(frame["ward"] == name).to_numpy(float) for name in ("east", "north", "west")])
    ensemble = random_ensemble(7)

    def prepare(X):
        made = np.column_stack([(X["ward"] == name).to_numpy(float) for name in ("east", "north", "west")])
        return np.column_stack([8 * made - 1, X["age"].to_numpy(float), 3 * X["age"].to_numpy(float)])

    assert hot.sum() == 80
    staged = ex.model.Staged(prepare, np.array([0, 0, 0, 1, 1]), {"target": ensemble.predict})
    model = ex.Model(predictor=lambda X: ensemble.predict(prepare(X)), task="regression", features=("ward", "age"), staged=staged)  # fmt: skip
    data = ex.Dataset.from_frame(frame.assign(y=random.normal(size=80)), target="y")
    for explainer in (
        ex.PartialDependence(grid=5),
        ex.PermutationImportance(),
        ex.AccumulatedLocalEffects(grid=4),
        ex.InteractionStrength(cases=30),
    ):
        model.__dict__["trees"] = None
        asked = ex.explain(model, data, explainer)
        model.__dict__["trees"] = ensemble
        found = ex.explain(model, data, explainer)
        assert found.diagnostics["kernel"].startswith("tree")
        assert_equal(found, asked)
