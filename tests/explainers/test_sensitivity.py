"""Sobol indices and elementary effects against closed forms, full enumeration, a slow twin, and repeated experiments."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

import explainers as ex
from explainers import device
from explainers.explainer import Problem
from explainers.sampling.columns.swaps import draw_independent, draw_steps
from tests.cases import annotations_not_executed


def uniform(d, n=2000, seed=0):
    """Columns that hold an even grid of 0..1 each, in different orders."""
    random = np.random.default_rng(seed)
    grid = (np.arange(n) + 0.5) / n
    return ex.Dataset.from_frame(pd.DataFrame({f"x{j}": random.permutation(grid) for j in range(d)}))


def ishigami(U):
    x = (2 * np.asarray(U) - 1) * np.pi
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def ishigami_truth():
    alone = np.array([0.5 * (1 + 0.1 * np.pi**4 / 5) ** 2, 49 / 8, 0.0])
    joint = 0.01 * np.pi**8 * (1 / 18 - 1 / 50)
    variance = alone.sum() + joint
    return alone / variance, (alone + np.array([joint, 0, joint])) / variance, variance


SOBOL_A = np.array([0.0, 1.0, 4.5, 9.0, 99.0, 99.0])


def sobol_g(U):
    return np.prod((np.abs(4 * np.asarray(U) - 2) + SOBOL_A) / (1 + SOBOL_A), axis=1)


def sobol_g_truth():
    alone = 1 / 3 / (1 + SOBOL_A) ** 2
    whole = np.prod(1 + alone)
    return alone / (whole - 1), alone * whole / (1 + alone) / (whole - 1), whole - 1


COEFFICIENTS = np.array([4.0, 2.0, 1.0, 0.0])


def line(X):
    return np.asarray(X, dtype=np.float64) @ COEFFICIENTS


def line_truth():
    share = COEFFICIENTS**2 / (COEFFICIENTS**2).sum()
    return share, share, (COEFFICIENTS**2).sum() / 12


def few(n=12, seed=0):
    """Two numbers (one with missing values), a category of three, a boolean: few enough values to enumerate."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": random.choice([1.0, 2.0, 5.0, np.nan], n, p=[0.4, 0.3, 0.2, 0.1]),
            "b": random.integers(0, 4, n).astype(float) / 2,
            "c": random.choice(["x", "y", "z"], n),
            "d": random.random(n) < 0.4,
        }
    )
    frame.loc[0, "a"] = np.nan
    return ex.Dataset.from_frame(frame)


def mixed(X):
    a = X[:, 0].astype(float)
    a = np.where(np.isnan(a), 3.0, a)
    c = np.select([X[:, 2] == "x", X[:, 2] == "y"], [1.0, -1.0], 0.0)
    return a * X[:, 1].astype(float) + 2 * c + c * X[:, 3].astype(float) + X[:, 3].astype(float)


def enumerated(data, f, units):
    """First order and total from every combination of the rows' values of each column, each weighted by how often it occurs."""
    n, d = data.matrix.shape
    levels = [np.unique(data.matrix[:, j], return_counts=True) for j in range(d)]
    codes = np.array(list(itertools.product(*[values for values, _ in levels])))
    weight = np.prod(list(itertools.product(*[counts / n for _, counts in levels])), axis=1)
    answers = f(data.schema.decode(codes).to_numpy())
    frame = pd.DataFrame(codes).fillna(-1.0).assign(w=weight, wf=weight * answers)

    def explained(columns):
        sums = frame.groupby(columns)[["w", "wf"]].sum()
        return (sums.wf**2 / sums.w).sum() - frame.wf.sum() ** 2

    variance = explained(list(range(d)))
    others = [[j for j in range(d) if j not in unit] for unit in units]
    first = np.array([explained(unit) for unit in units]) / variance
    return first, 1 - np.array([explained(rest) for rest in others]) / variance, variance


def problem_of(model, data):
    return Problem(model, data, data, None, None, device.pick("cpu"))


# --- closed forms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "truth", "within"),
    [(ishigami, ishigami_truth, 0.05), (sobol_g, sobol_g_truth, 0.02), (line, line_truth, 0.005)],
)
def test_the_closed_forms(f, truth, within):
    first, total, variance = truth()
    data, model = uniform(len(first)), ex.Model.wrap(f)
    result = ex.explain(model, data, ex.Sensitivity(samples=4096, seed=1))
    alone = ex.explain(model, data, ex.Sensitivity(measure="first", samples=4096, seed=1))
    np.testing.assert_allclose(result.values, total, atol=within)
    np.testing.assert_allclose(alone.values, first, atol=within)
    assert result.diagnostics["variance"] == pytest.approx(variance, rel=within)
    np.testing.assert_array_equal(result.diagnostics["first_order"], alone.values)
    np.testing.assert_array_equal(alone.diagnostics["total_error"], result.standard_error)
    for found, exact in ((result, total), (alone, first)):
        assert (np.abs(found.values - exact) <= 4 * found.standard_error + 1e-6).all()
        assert (found.standard_error < within).all()
    assert result.diagnostics["evaluations"] <= 4096 * (len(first) + 2)


def test_a_feature_without_effect_has_exactly_none():
    result = ex.explain(ex.Model.wrap(line), uniform(4), ex.Sensitivity(samples=128))
    assert result.values[3] == result.standard_error[3] == result.diagnostics["first_order"][3] == 0.0
    steps = ex.explain(ex.Model.wrap(line), uniform(4), ex.Sensitivity(measure="morris", samples=64))
    assert steps.values[3] == steps.standard_error[3] == 0.0


def test_elementary_effects_of_a_line_are_its_coefficients():
    result = ex.explain(
        ex.Model.wrap(lambda X: -line(X)), uniform(4), ex.Sensitivity(measure="morris", samples=64)
    )
    found = result.diagnostics
    np.testing.assert_allclose(result.values, COEFFICIENTS, rtol=5e-3)
    np.testing.assert_allclose(found["mu"], -COEFFICIENTS, rtol=5e-3)
    assert (found["sigma"] < 0.01 * COEFFICIENTS + 1e-12).all()
    assert found["evaluations"] == 64 * 5


def test_elementary_effects_tell_bends_from_interactions_and_miss_no_period():
    def f(U):
        U = np.asarray(U)
        return np.sin(4 * np.pi * U[:, 0]) + np.abs(U[:, 1] - 0.5) + U[:, 2] * (U[:, 3] > 0.5)

    found = ex.explain(
        ex.Model.wrap(f), uniform(4), ex.Sensitivity(measure="morris", samples=1024)
    ).diagnostics
    assert found["mu_star"][0] > 1.0  # although the sine returns after half the distribution
    assert found["mu_star"][1] > 10 * abs(found["mu"][1])
    assert found["mu"][2] == pytest.approx(0.5, abs=0.02)
    assert found["sigma"][2] == pytest.approx(0.5, abs=0.02)  # 0 or 1, half each


# --- second implementations -----------------------------------------------------------------------------------------------


def plain_sobol(f, base, partner, units):
    """Row by row, formula by formula, the jackknife over replicates; `base` and `partner` are ``(r, p, d)`` of codes."""

    def shares(keep):
        A, B = np.concatenate(base[keep]), np.concatenate(partner[keep])
        fa, fb = f(A), f(B)
        both = np.concatenate([fa, fb])
        mean, variance = both.mean(), both.var()
        first, total = [], []
        for unit in units:
            C = A.copy()
            C[:, unit] = B[:, unit]
            fc = f(C)
            total.append(np.mean((fc - fa) ** 2) / 2 / variance)
            saltelli = np.mean((fb - mean) * (fc - fa)) / variance
            own = np.concatenate([fb, fc])
            janon = (np.mean(fb * fc) - own.mean() ** 2) / own.var()
            weight = min(total[-1], 1.0)
            first.append((1 - weight) * saltelli + weight * janon)
        return np.array([first, total])

    r = len(base)
    every = np.arange(r)
    without = np.array([shares(every[every != i]) for i in every])
    spread = np.sqrt((r - 1) / r * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    return shares(every), spread * student.ppf(0.975, r - 1) / 1.959964


UNITS = [[0], [1, 3], [2]]
GROUPS = (("d", "b"),)


def test_equals_the_plain_implementation_with_groups_categories_and_missing_values():
    data, model = few(), ex.Model.wrap(mixed)
    result = ex.explain(model, data, ex.Sensitivity(samples=128, groups=GROUPS, seed=3))
    draws = draw_independent(problem_of(model, data), UNITS, 128, 3)
    values, errors = plain_sobol(
        lambda codes: mixed(data.schema.decode(codes).to_numpy()), draws.base, draws.partner, UNITS
    )
    found = result.diagnostics
    np.testing.assert_allclose([found["first_order"], found["total"]], values, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose([found["first_order_error"], found["total_error"]], errors, rtol=1e-6)
    assert result.names == ("a", "b + d", "c")
    assert result.groups == (("a",), ("b", "d"), ("c",))


def test_elementary_effects_equal_the_plain_implementation():
    data, model = few(), ex.Model.wrap(mixed)
    found = ex.explain(model, data, ex.Sensitivity(measure="morris", samples=128, groups=GROUPS)).diagnostics
    draws = draw_steps(problem_of(model, data), UNITS, 128, 0)

    def ask(codes):
        return mixed(data.schema.decode(codes.reshape(-1, 4)).to_numpy()).reshape(codes.shape[:2])

    own = ask(draws.base)
    for u, unit in enumerate(UNITS):
        rows = draws.base.copy()
        rows[..., unit] = draws.partner[..., unit]
        answers, sizes, signed = ask(rows), [], []
        for r, i in np.ndindex(*draws.base.shape[:2]):
            steps = draws.step[r, i, unit]
            assert (np.abs(steps) >= 0.25).all()
            assert (np.abs(steps) <= 0.75).all()
            change = answers[r, i] - own[r, i]
            sizes.append(abs(change) / np.abs(steps).mean())
            if unit == [0] and not np.isnan([draws.base[r, i, 0], draws.partner[r, i, 0]]).any():
                signed.append(change / steps[0])
        assert found["mu_star"][u] == pytest.approx(np.mean(sizes), rel=1e-9)
        if unit == [0]:
            assert 0 < len(signed) < 128
            assert found["mu"][0] == pytest.approx(np.mean(signed), rel=1e-9)
            assert found["sigma"][0] == pytest.approx(np.std(signed), rel=1e-9)
        else:
            assert np.isnan(found["mu"][u])
            assert np.isnan(found["sigma"][u])


def test_the_draws_have_the_columns_own_distributions():
    data = few(40)
    draws = draw_independent(problem_of(ex.Model.wrap(mixed), data), [[0], [1], [2], [3]], 4096, 0)
    for rows in (draws.base, draws.partner):
        for j in range(4):
            values, counts = np.unique(data.matrix[:, j], return_counts=True)
            found, times = np.unique(rows[..., j], return_counts=True)
            np.testing.assert_array_equal(found, values)
            np.testing.assert_allclose(times / rows[..., j].size, counts / 40, atol=0.003)
    both = np.nan_to_num(np.concatenate([draws.base, draws.partner], axis=-1).reshape(-1, 8), nan=9.0)
    assert np.abs(np.corrcoef(both.T) - np.eye(8)).max() < 0.05


# --- the errors are true -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [256])
def test_the_errors_are_true_for_values_that_can_be_enumerated(samples):
    data, model = few(), ex.Model.wrap(mixed)
    first, total, variance = enumerated(data, mixed, UNITS)
    assert (total - first > 0.01).all()
    truth = np.concatenate([first, total])
    with annotations_not_executed():
        found = [
            ex.explain(model, data, ex.Sensitivity(samples=samples, groups=GROUPS, seed=seed)).diagnostics
            for seed in range(40)
        ]
    values = np.array([np.concatenate([f["first_order"], f["total"]]) for f in found])
    errors = np.array([np.concatenate([f["first_order_error"], f["total_error"]]) for f in found])
    miss = values - truth
    # the errors are wider by Student's 1.21 for eight replicates, so that intervals, not spreads, are right
    ratio = np.sqrt((miss**2).mean(axis=0) / (errors**2).mean(axis=0)) * 1.2064
    assert (ratio > 0.7).all()
    assert (ratio < 1.4).all()
    assert 0.90 <= (np.abs(miss) <= 1.96 * errors).mean() <= 0.99
    assert np.mean([f["variance"] for f in found]) == pytest.approx(variance, rel=0.02)


def test_the_errors_of_elementary_effects_are_true():
    def f(U):
        U = np.asarray(U)
        return U[:, 0] * U[:, 1] + np.sin(7 * U[:, 1])

    data, model = uniform(2), ex.Model.wrap(f)
    truth = ex.explain(model, data, ex.Sensitivity(measure="morris", samples=8192, seed=99)).diagnostics
    with annotations_not_executed():
        found = [
            ex.explain(model, data, ex.Sensitivity(measure="morris", samples=64, seed=s)).diagnostics
            for s in range(40)
        ]
    for name in ("mu_star", "mu", "sigma"):
        miss = np.array([each[name] for each in found]) - truth[name]
        errors = np.array([each[f"{name}_error"] for each in found])
        ratio = np.sqrt((miss**2).mean(axis=0) / (errors**2).mean(axis=0)) * 1.2064
        assert (ratio > 0.7).all(), name
        assert (ratio < 1.4).all(), name


# --- how it is asked -------------------------------------------------------------------------------------------------------


def test_what_does_not_change_is_not_asked_and_portions_are_large():
    sizes = []

    def counted(X):
        sizes.append(len(X))
        return line(X)

    frame = uniform(3).X.assign(same=1.0)
    result = ex.explain(ex.Model.wrap(counted), ex.Dataset.from_frame(frame), ex.Sensitivity(samples=1024))
    # nothing for the constant column, and a few draws happen to repeat a value
    assert 5 * 1024 - 20 <= result.diagnostics["evaluations"] <= 5 * 1024
    # and at most the 500 cases beforehand: they tell how many outputs there are
    assert result.diagnostics["evaluations"] <= sum(sizes) <= result.diagnostics["evaluations"] + 500
    assert len(sizes) <= 6


def test_the_same_seed_gives_the_same_another_another():
    data, model = few(), ex.Model.wrap(mixed)
    for measure in ("total", "morris"):
        one, again, other = (
            ex.explain(model, data, ex.Sensitivity(measure=measure, samples=64, seed=seed)).values
            for seed in (5, 5, 6)
        )
        np.testing.assert_array_equal(one, again)
        assert (one != other).all()


@pytest.mark.parametrize("measure", ["total", "morris"])
def test_partial_results_come_after_quarters_with_their_own_errors(measure, monkeypatch):
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 2**13)
    data, model = few(), ex.Model.wrap(mixed)
    partial = []

    def keep(done, total, result=None):
        if result is not None:
            partial.append((done / total, result))

    whole = ex.explain(model, data, ex.Sensitivity(measure=measure, samples=512), progress=keep)
    assert [result.diagnostics["replicates"] for _, result in partial] == [2, 4, 6]
    assert [result.diagnostics["samples"] for _, result in partial] == [128, 256, 384]
    for share, result in partial:
        assert result.diagnostics["evaluations"] <= share * whole.diagnostics["evaluations"]
        assert (result.standard_error > 0).all()
    near = [np.abs(result.values - whole.values) <= 2 * result.standard_error for _, result in partial]
    assert np.mean(near) >= 0.75
    assert partial[0][1].standard_error.mean() > whole.standard_error.mean()


def test_cancelling_passes_through():
    def stop(done, total, partial=None):
        raise ex.Cancelled("now")

    with pytest.raises(ex.Cancelled, match="now"):
        ex.explain(ex.Model.wrap(mixed), few(), ex.Sensitivity(samples=64), progress=stop)


@pytest.mark.parametrize("measure", ["total", "first", "morris"])
def test_a_constant_prediction_has_nothing_to_share(measure):
    model = ex.Model.wrap(lambda X: np.full(len(X), 1e6 + 0.1))
    result = ex.explain(model, few(), ex.Sensitivity(measure=measure, samples=64))
    np.testing.assert_array_equal(result.values, 0.0)
    np.testing.assert_array_equal(result.standard_error, 0.0)
    assert "the same for all" in result.diagnostics["note"]
    moving = ex.explain(ex.Model.wrap(mixed), few(), ex.Sensitivity(measure=measure, samples=64))
    assert moving.diagnostics["note"] == ""


def test_a_large_mean_costs_no_digits():
    data = uniform(4)
    small = ex.explain(ex.Model.wrap(line), data, ex.Sensitivity(samples=64))
    large = ex.explain(ex.Model.wrap(lambda X: line(X) + 1e7), data, ex.Sensitivity(samples=64))
    np.testing.assert_allclose(large.values, small.values, atol=1e-7)
    np.testing.assert_allclose(large.diagnostics["first_order"], small.diagnostics["first_order"], atol=1e-7)


def test_values_come_from_training_rows_or_from_the_rows_named():
    frame = uniform(2, 100).X.assign(part="train")
    frame.loc[60:, "part"] = "test"
    frame.loc[60:, "x0"] = 7.0
    data, model = ex.Dataset.from_frame(frame, role="part"), ex.Model.wrap(lambda X: np.asarray(X)[:, 0])
    trained = ex.explain(model, data, ex.Sensitivity(samples=64))
    assert trained.diagnostics["cases"] == 60
    assert trained.diagnostics["mean"] < 1.0
    tested = ex.explain(model, data, ex.Sensitivity(samples=64), rows=range(60, 100))
    assert tested.diagnostics["mean"] == 7.0
    np.testing.assert_array_equal(tested.values, 0.0)


def test_one_class_is_explained_and_said():
    def three(X):
        x = np.asarray(X)[:, :2]
        return np.column_stack([0.2 * x[:, 0], 0.3 * x[:, 1], 1 - 0.2 * x[:, 0] - 0.3 * x[:, 1]])

    data, model = uniform(3, 50), ex.Model.wrap(three, classes=("a", "b", "c"))
    often = ex.explain(model, data, ex.Sensitivity(samples=256))
    assert often.diagnostics["target"] == "c"
    assert (often.values[:2] > 0.2).all()
    first = ex.explain(model, data, ex.Sensitivity(samples=256), target="a")
    np.testing.assert_allclose(first.values, [1, 0, 0], atol=0.02)
    np.testing.assert_array_equal(first.values[1:], 0.0)
    # the probabilities of two classes vary alike
    two = ex.Model.wrap(lambda X: 0.2 + 0.5 * np.asarray(X)[:, 0], classes=("no", "yes"))
    pair = [ex.explain(two, data, ex.Sensitivity(samples=64), target=label).values for label in ("no", "yes")]
    np.testing.assert_allclose(pair[0], pair[1], atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "call", "error", "message"),
    [
        ({"groups": (("a", "nobody"),)}, {}, ex.InvalidSetting, "no feature nobody|no feature .*'nobody'"),
        ({"groups": (("a",), ("a", "b"))}, {}, ex.InvalidSetting, "stands in two groups"),
        ({"samples": 15}, {}, ex.InvalidSetting, "between 16 and 65536"),
        ({"space": "raw"}, {}, ex.InvalidSetting, "no raw score"),
        ({}, {"target": "all"}, ex.InvalidSetting, "one output at a time"),
        ({}, {"rows": []}, ex.InvalidSetting, "no cases to explain"),
        ({}, {"rows": [3]}, ex.InvalidSetting, "at least two cases"),
    ],
)
def test_what_cannot_be_done_is_refused(settings, call, error, message):
    with pytest.raises(error, match=message):
        ex.explain(ex.Model.wrap(mixed), few(), ex.Sensitivity(**settings), **call)


def test_a_model_that_fails_says_so():
    def fails(X):
        if len(X) > 1:
            raise ValueError("no such row")
        return np.zeros(len(X))

    with pytest.raises(ex.ModelFailure, match="no such row"):
        ex.explain(ex.Model.wrap(fails), few(), ex.Sensitivity(samples=64))
