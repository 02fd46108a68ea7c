"""LIME: against the package ``lime``, its own plain formulas, and its stated errors."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import truncnorm
from sklearn.linear_model import Ridge

import explainers as ex
from explainers import device
from explainers.sampling.local import rough_copy
from explainers.sampling.local.mask_moments import power_means, together
from explainers.sampling.local.masked_ridge import MaskedRidge
from explainers.sampling.local.masks import draw_masks, size_weights
from explainers.sampling.local.table_ridge import Neighbours, fit
from explainers.sampling.local.training_law import TrainingLaw
from tests.cases import CASES

N = 500


def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": rng.normal(size=N),
            "b": rng.gamma(2.0, 2.0, N),
            "kind": rng.integers(0, 3, N),
            "c": rng.uniform(-1, 1, N),
        }
    )


def score(X):
    X = np.asarray(X, dtype=float)
    return X[:, 0] + X[:, 0] * (X[:, 2] == 1) - 0.3 * X[:, 1] + np.sin(3 * X[:, 3])


def probability(X):
    return 1 / (1 + np.exp(-score(X)))


def cases():
    frame = table()
    data = ex.Dataset.from_frame(frame)
    kind = ex.Feature("kind", "category", categories=(0, 1, 2), dtype="int64")
    return ex.Dataset.from_frame(frame, schema=data.schema.replace(kind))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_it_agrees_with_the_package(task):
    from lime.lime_tabular import LimeTabularExplainer

    data, samples, rows = cases(), 2000, [0, 5]
    classifies = task == "classification"
    model = ex.Model.wrap(probability, classes=["no", "yes"]) if classifies else ex.Model.wrap(score)
    ask = (lambda X: np.column_stack([1 - probability(X), probability(X)])) if classifies else score
    ours, theirs = [], []
    for seed in range(6):
        run = ex.explain(model, data, ex.Lime(samples=samples, seed=seed), rows=rows)
        facts = [run.base_value, run.diagnostics["r2"], run.diagnostics["local_prediction"]]
        ours.append(np.column_stack([run.values, *facts]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            package = LimeTabularExplainer(
                table().to_numpy(), mode=task, categorical_features=[2], random_state=seed
            )
            theirs.append([])
            for row in rows:
                answer = package.explain_instance(
                    table().to_numpy()[row], ask, num_features=4, num_samples=samples
                )
                weights = dict(answer.as_map()[1])
                facts = [answer.intercept[1], answer.score, answer.local_pred[0]]
                theirs[-1].append([*(weights[j] for j in range(4)), *facts])
    mean, expected = np.mean(ours, axis=0), np.mean(theirs, axis=0)
    error = np.sqrt((np.var(ours, axis=0, ddof=1) + np.var(theirs, axis=0, ddof=1)) / 6)
    assert (np.abs(mean - expected) / error).max() < 6
    scale = np.abs(expected[:, :4]).max(axis=1, keepdims=True)
    assert (np.abs(mean - expected) / scale).max() < 0.1


def lattice(law):
    """All slots of a law once, with their probabilities."""
    sizes = [len(feature.frequency) for feature in law.features]
    slots = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).reshape(-1, len(sizes))
    return slots + law.starts, law.frequency[slots + law.starts].prod(axis=1)


def test_a_model_of_bins_is_fitted_as_by_scikit_learn_on_all_of_them():
    """Where the rough copy is the model nothing is sampled: what is left is the ridge regression of the whole law."""
    data = cases()
    law = TrainingLaw.of(data.schema, data.matrix)
    rng = np.random.default_rng(3)
    effects = rng.normal(size=(2, len(law.frequency)))
    every, likely = lattice(law)
    slots, codes = law.draw(4000, 1)
    neighbours = Neighbours.of(law, slots, codes, effects[:, slots].sum(axis=2).T)
    case_slots, outputs = law.slots(law.bins(data.matrix[:3])), np.array([[0, 1], [1, 0], [0, 1]])
    own = np.take_along_axis(effects[:, case_slots].sum(axis=2).T, outputs, axis=1)
    found = fit(neighbours, case_slots, own, outputs, 1.5)
    for i in range(3):
        z = np.vstack([np.ones(4), every == case_slots[i]])
        weights = np.sqrt(np.exp(-(1 - z).sum(axis=1) / 1.5**2)) * np.append(1, 4000 * likely)
        for k in range(2):
            y = np.append(own[i, k], effects[outputs[i, k], every].sum(axis=1))
            ridge = Ridge(alpha=1).fit(z, y, sample_weight=weights)
            scale = np.abs(ridge.coef_).max()
            np.testing.assert_allclose(found.coefficients[i, :, k], ridge.coef_, atol=2e-3 * scale)
            assert found.intercept[i, k] == pytest.approx(ridge.intercept_, abs=2e-3 * scale)
            assert found.r2[i, k] == pytest.approx(ridge.score(z, y, sample_weight=weights), abs=0.01)


def test_the_fit_is_the_mean_over_the_neighbours_written_out():
    data = cases()
    law = TrainingLaw.of(data.schema, data.matrix)
    slots, codes = law.draw(600, 2)
    answers = np.column_stack([score(codes), np.cos(codes[:, 0]) * codes[:, 3]])
    neighbours = Neighbours.of(law, slots, codes, answers)
    case_slots, width = law.slots(law.bins(data.matrix[4:6])), 1.2
    own = np.column_stack([score(data.matrix[4:6]), [0.3, 0.4]])
    found = fit(neighbours, case_slots, own, np.array([[0, 1], [0, 1]]), width)
    every, likely = lattice(law)
    copy, scale = neighbours.copy, np.append(1, 600 * likely)
    for i in range(2):
        z = np.vstack([np.ones(4), every == case_slots[i]])
        weights = scale * np.exp(-(1 - z).sum(axis=1) / (2 * width**2))
        near = slots == case_slots[i]
        sampled = np.exp(-(1 - near).sum(axis=1) / (2 * width**2))
        mass = weights[1:].sum()
        p = weights[1:] @ z[1:] / mass
        for k in range(2):
            v = copy.means[every]
            known = copy.constant[k] + copy.by_slot[every, k].sum(axis=1)
            known += np.einsum("na,ab,nb->n", v, copy.pairs[k], v) / 2
            missed = sampled * copy.missed[:, k]
            shift = missed.sum() / mass
            tilt = (missed @ near - p * missed.sum()) / mass
            y = np.append(own[i, k], known + shift)
            mean = weights @ z / weights.sum()
            middle = weights @ y / weights.sum()
            gram = (z - mean).T @ ((z - mean) * weights[:, None]) + np.eye(4)
            right = (z - mean).T @ (weights * (y - middle)) + mass * tilt
            expected = np.linalg.solve(gram, right)
            np.testing.assert_allclose(found.coefficients[i, :, k], expected, rtol=1e-8, atol=1e-10)
            assert found.intercept[i, k] == pytest.approx(middle - mean @ expected)
            noise = ((missed[:, None] * (near - p)) ** 2).sum(axis=0) * 600 / 599
            error = np.diag(np.linalg.inv(gram)) * np.sqrt(noise)
            np.testing.assert_allclose(found.standard_error[i, :, k], error, rtol=1e-8)
            square = (
                sampled @ answers[:, k] ** 2 / sampled.sum() - (sampled @ answers[:, k] / sampled.sum()) ** 2
            )
            centre = weights[1:] @ y[1:] / mass
            total = mass * square + mass / (mass + 1) * (own[i, k] - centre) ** 2
            gained = expected @ right + expected @ expected
            assert found.r2[i, k] == pytest.approx(gained / total)


@pytest.mark.parametrize(
    ("fitted", "count"), [(20_000, 900), (300, 900), (20_000, 150), (20_000, 60), (20_000, 12)]
)
def test_the_copy_and_what_it_misses_are_the_model(monkeypatch, fitted, count):
    """With pairs, bins, lines or nothing; what is missed of a neighbour differs from that of the mean copy by little."""
    monkeypatch.setattr(rough_copy, "MOST_FITTED", fitted)
    data = cases()
    law = TrainingLaw.of(data.schema, data.matrix)
    slots, codes = law.draw(count, 2)
    answers = np.column_stack([score(codes), codes[:, 0] * codes[:, 3] + codes[:, 1], np.full(count, 3.0)])
    copy = rough_copy.rough_copy(law, slots, codes, answers)
    middle, spread = [0, 0, 0, 0], [1, 1, 1, 1]
    for j, feature in enumerate(law.features):
        share, inside = feature.frequency[:-1], feature.means[:-1]
        if j == 2:
            middle[j], inside = share.max(), np.arange(3) == share.argmax()
            spread[j] = np.sqrt(share.max() * (1 - share.max()))
        else:
            middle[j] = share @ inside
            spread[j] = np.sqrt(share @ (feature.deviation**2 + (feature.mean - middle[j]) ** 2))
        own = copy.means[law.starts[j] : law.starts[j] + len(share)]
        np.testing.assert_allclose(own, (inside - middle[j]) / spread[j], atol=1e-6)
    common = law.features[2].frequency.argmax()
    plain = np.column_stack([codes[:, :2], codes[:, 2] == common, codes[:, 3]])
    v = (plain - middle) / spread
    slope = [0.0] * 3  # what a line adds within a bin: found from what is left over
    for k in range(3):
        known = copy.constant[k] + copy.by_slot[slots, k].sum(axis=1)
        known += np.einsum("na,ab,nb->n", v, copy.pairs[k], v) / 2
        left = answers[:, k] - copy.missed[:, k] - known
        within = v - copy.means[slots]
        lines, *_ = np.linalg.lstsq(within, left, rcond=None)
        slope[k] = np.abs(left - within @ lines).max() / max(1e-12, answers[:, k].std())
    assert max(slope[:2]) < 0.25
    assert slope[2] == 0
    np.testing.assert_allclose(copy.missed[:, 2], 0, atol=1e-12)
    assert (copy.explained[:2] > (0.5 if count > 12 else -1e-9)).all()
    assert (copy.pairs[1, 0, 3] > 0.1) == (count >= 150)


def test_values_vary_less_than_the_packages():
    from lime.lime_tabular import LimeTabularExplainer

    data, frame = cases(), table().to_numpy()
    model = ex.Model.wrap(score)
    ours, theirs = [], []
    for seed in range(8):
        ours.append(ex.explain(model, data, ex.Lime(samples=400, seed=seed), rows=[0, 5]).values)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            package = LimeTabularExplainer(
                frame, mode="regression", categorical_features=[2], random_state=seed
            )
            answers = [
                package.explain_instance(frame[i], score, num_features=4, num_samples=400) for i in (0, 5)
            ]
        theirs.append([[dict(answer.as_map()[1])[j] for j in range(4)] for answer in answers])
    spread, of_package = (np.sqrt(np.var(runs, axis=0, ddof=1).mean()) for runs in (ours, theirs))
    assert spread < 0.6 * of_package


def spread_and_error(model, data, samples, seeds):
    runs = [
        ex.explain(model, data, ex.Lime(samples=samples, seed=seed), rows=[3, 4]) for seed in range(seeds)
    ]
    return np.std([run.values for run in runs], axis=0, ddof=1), np.mean(
        [run.standard_error for run in runs], axis=0
    )


def test_the_standard_error_bounds_the_spread_over_seeds():
    spread, stated = spread_and_error(ex.Model.wrap(score), cases(), 800, 20)
    assert (spread < stated).all()


def test_the_standard_error_is_the_spread_over_seeds_with_many_features():
    """Where the model is rough and features are many, evenness gains little: the stated error is about the spread."""
    frame = pd.DataFrame(np.random.default_rng(5).normal(size=(300, 12)), columns=list("abcdefghijkl"))
    model = ex.Model.wrap(lambda X: np.sign(np.prod(np.asarray(X, dtype=float)[:, :5], axis=1)))
    spread, stated = spread_and_error(model, ex.Dataset.from_frame(frame), 400, 30)
    ratio = np.sqrt((spread**2).mean() / (stated**2).mean())
    assert ratio == pytest.approx(1, abs=0.25)


def test_neighbours_follow_the_training_rows():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "number": np.where(rng.random(4000) < 0.1, np.nan, rng.exponential(2.0, 4000)),
            "kind": rng.choice(["x", "y", None], 4000, p=[0.6, 0.3, 0.1]),
            "steps": rng.choice([5.0, 6.0, 9.0], 4000, p=[0.5, 0.3, 0.2]),
        }
    )
    data = ex.Dataset.from_frame(frame)
    law = TrainingLaw.of(data.schema, data.matrix)
    slots, drawn = law.draw(40_000, 0)
    np.testing.assert_array_equal(slots, law.slots(law.bins(drawn)))
    for j in range(3):
        bins, own = law.bins(drawn)[:, j], law.bins(data.matrix)[:, j]
        for b in np.unique(own):
            assert (bins == b).mean() == pytest.approx((own == b).mean(), abs=0.02)
            inside, theirs = drawn[bins == b, j], data.matrix[own == b, j]
            if b < 0:
                assert np.isnan(inside).all()
            elif j == 0:
                edges = np.nanpercentile(data.matrix[:, 0], [0, 25, 50, 75, 100])[[b, b + 1]]
                ends = (edges - theirs.mean()) / theirs.std()
                expected = truncnorm(*ends, theirs.mean(), theirs.std())
                assert inside.mean() == pytest.approx(expected.mean(), rel=0.03)
                assert inside.std() == pytest.approx(expected.std(), rel=0.05)
                assert edges[0] <= inside.min()
                assert inside.max() <= edges[1]
    assert (drawn[:, 2] == 5.0).mean() == pytest.approx(0.5, abs=0.02)  # a bin of one value


def test_conditions_are_said_in_the_users_words():
    frame = pd.DataFrame(
        {"age": np.arange(20, 60), "ward": ["east", "west"] * 20, "dose": [np.nan, 1.5] * 20}
    )
    data = ex.Dataset.from_frame(frame)
    age = ex.Feature("age", "integer", label="Age", unit="years", dtype="int64")
    data = ex.Dataset.from_frame(frame, schema=data.schema.replace(age))
    model = ex.Model.wrap(lambda X: np.asarray(X[:, 0], dtype=float))
    found = ex.explain(model, data, ex.Lime(samples=100), rows=[0, 15, 39])
    assert found.diagnostics["conditions"] == [
        ["Age <= 29 years", "ward = east", "dose is missing"],
        ["29 years < Age <= 39 years", "ward = west", "dose <= 1.5"],
        ["Age > 49 years", "ward = west", "dose <= 1.5"],
    ]


def test_a_feature_the_model_ignores_has_no_weight_beyond_its_error():
    model, data = ex.Model.wrap(lambda X: np.asarray(X[:, 1], dtype=float)), cases()
    found = ex.explain(model, data, ex.Lime(samples=20_000), rows=range(5))
    others = [0, 2, 3]
    trace = 10 / 20_000  # the case is one of the neighbours, and not what its bin is on average
    assert (np.abs(found.values[:, others]) < 4.5 * found.standard_error[:, others] + trace).all()
    assert (np.abs(found.values[:, 1]) > 10 * found.standard_error[:, 1]).all()


def test_portions_and_company_change_nothing(monkeypatch):
    model, data = ex.Model.wrap(probability, classes=[0, 1]), cases()
    whole = ex.explain(model, data, ex.Lime(samples=300), rows=range(8))
    alone = ex.explain(model, data, ex.Lime(samples=300), rows=[6])
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 60_000)
    ticks = []
    small = ex.explain(
        model, data, ex.Lime(samples=300), rows=range(8), progress=lambda *at: ticks.append(at[:2])
    )
    np.testing.assert_allclose(small.values, whole.values, rtol=1e-10)
    np.testing.assert_allclose(alone.values[0], whole.values[6], rtol=1e-10)
    assert ticks[-1] == (307, 307)
    assert len(ticks) > 5


def test_the_result_says_what_it_is():
    case = CASES["mixed_table_classifier"]()
    model = dataclasses.replace(case.model)  # samples are remembered for each model: this one has none yet
    found = ex.explain(model, case.data, ex.Lime(samples=200), rows=[1, 2], target="ill")
    every = ex.explain(model, case.data, ex.Lime(samples=200), rows=[1, 2], target="all")
    raw = ex.explain(model, case.data, ex.Lime(samples=200, space="raw"), rows=[1, 2])
    np.testing.assert_allclose(every.values[..., 0], found.values, atol=1e-12)
    np.testing.assert_allclose(found.output, model.predict(case.data.X)[[1, 2], 0])
    np.testing.assert_allclose(raw.output, model.raw(case.data.X)[[1, 2], 1])
    np.testing.assert_allclose(
        found.base_value + found.values.sum(axis=1), found.diagnostics["local_prediction"]
    )
    assert found.diagnostics["kernel_width"] == pytest.approx(0.75 * 2)
    assert (found.diagnostics["sample"], found.diagnostics["evaluations"]) == ("asked", 201)
    assert (every.diagnostics["sample"], every.diagnostics["evaluations"]) == (
        "remembered from an earlier call",
        2,
    )
    assert found.diagnostics["exact"] is False
    assert found.background_error is None
    assert found.reference == ex.Reference(30, "train", "probability")


@pytest.mark.parametrize(
    ("explainer", "message"),
    [(ex.Lime(space="raw"), "no raw score"), (ex.Lime(space="probability"), "no probabilities")],
)
def test_what_it_refuses(explainer, message):
    with pytest.raises(ex.InvalidSetting, match=message):
        ex.explain(ex.Model.wrap(score), cases(), explainer, rows=[0])


def test_sequences_are_refused():
    case = CASES["gru_sequences"]()
    with pytest.raises(ex.NotApplicable, match="Explains table and image and text data"):
        ex.explain(case.model, case.data, ex.Lime(), rows=[0])


# --- pictures and texts -----------------------------------------------------------------------------------------------

WORDS = "the quick brown fox jumps over a lazy dog while seven wizards watch from behind"
SENTENCES = ["a fine warm day", "cold", WORDS, "no rain no wind but some fog", "..."]


def mood(texts):
    """Words add up, pairs and counts do not."""
    found = []
    for text in texts:
        words = text.split()
        plain = sum((-1) ** len(word) * len(word) for word in words) / 10
        found.append(plain + ("quick" in words) * ("fox" in words) + 0.3 * np.sqrt(len(words)))
    return np.array(found)


def mood_shares(texts):
    return 1 / (1 + np.exp(-np.column_stack([-mood(texts), mood(texts)])))


def picture(side=24, seed=0):
    rng = np.random.default_rng(seed)
    return np.clip(
        np.kron(rng.random((3, 4, 4)), np.ones((side // 4, side // 4))) + 0.1 * rng.random((3, side, side)),
        0,
        1,
    )


def brightness(pictures):
    pictures = np.asarray(pictures, dtype=np.float64)
    corner, middle = pictures[:, 0, :9, :9].std(axis=(1, 2)), pictures[:, :, 8:16, 8:16].std(axis=(1, 2, 3))
    return 3 * corner - 4 * corner * middle + pictures[:, 1, 15:].std(axis=(1, 2))


def pictures_of(count=2):
    return ex.Dataset.from_images(np.array([picture(seed=i) for i in range(count)], dtype=np.float32))


def masked_ridge(masks, weights, answers):
    """Every neighbour a row, the case first: coefficients, intercept and score."""
    z = np.vstack([np.ones(masks.shape[1]), masks])
    ridge = Ridge(alpha=1).fit(z, answers, sample_weight=np.append(1, weights))
    return ridge.coef_, ridge.intercept_, ridge.score(z, answers, sample_weight=np.append(1, weights))


def every_mask(players):
    return (np.arange(2**players)[:, None] >> np.arange(players)) % 2 == 1


def near(masks):
    """The package's weights: of cosine distances, which for an empty mask are 1."""
    distance = 1 - np.sqrt(masks.sum(axis=1) / masks.shape[1])
    return np.sqrt(np.exp(-(distance**2) / 0.25**2))


@pytest.mark.parametrize("kind", ["image", "text"])
def test_weights_of_sizes_are_those_of_the_masks(kind):
    masks = every_mask(6)
    kept = masks.sum(axis=1)
    same = np.bincount(kept)[kept]
    likely = np.full(64, 1 / 64) if kind == "image" else np.where(kept < 6, 1 / 6 / same, 0)
    expected = np.bincount(kept, likely * near(masks))
    np.testing.assert_allclose(size_weights(kind, 6), expected)


@pytest.mark.parametrize("kind", ["image", "text"])
@pytest.mark.parametrize("players", [0, 1, 2, 9, 40, 300])
def test_masks_are_different_and_stand_for_all(kind, players):
    drawn = draw_masks(kind, players, 200, 3)
    weights = 199 * size_weights(kind, players)
    assert len(drawn.masks) <= 198
    assert len(np.unique(drawn.masks, axis=0)) == len(drawn.masks)
    assert drawn.exact == (players < 7)
    kept = drawn.masks.sum(axis=1)
    assert drawn.weight.sum() + drawn.empty + drawn.whole == pytest.approx(
        weights.sum() if players else drawn.whole
    )
    for size in range(1, players):
        assert drawn.weight[kept == size].sum() == pytest.approx(weights[size], abs=1.01 * drawn.weight.max())


def test_each_player_is_kept_as_often_as_the_law_says():
    law, kept = 199 * size_weights("text", 12), np.zeros(12)
    for seed in range(200):
        drawn = draw_masks("text", 12, 200, seed)
        kept += drawn.weight @ drawn.masks + drawn.whole
    np.testing.assert_allclose(kept / 200, law @ np.arange(13) / 12, rtol=0.02)


@pytest.mark.parametrize("samples", [200, 5000])
def test_a_short_text_is_exact(samples):
    """Four words: 16 neighbours, whatever `samples` says but for the ridge; as over all neighbours of the law."""
    asked = []

    def model(texts):
        asked.extend(texts)
        return mood_shares(texts)

    data = ex.Dataset.from_texts(SENTENCES)
    wrapped = ex.Model.wrap(model, classes=["sad", "glad"])
    found = ex.explain(wrapped, data, ex.Lime(samples=samples), rows=[0])
    masks = every_mask(4)[:-1]
    words = ["a", "fine", "warm", "day"]
    shown = [
        "".join(
            (word if keep else "") + gap for word, keep, gap in zip(words, mask, "   \0", strict=True)
        ).strip("\0")
        for mask in masks
    ]
    same = np.bincount(masks.sum(axis=1))[masks.sum(axis=1)]
    answers = mood_shares([" ".join(words), *shown])[:, 1]
    expected, intercept, fits = masked_ridge(masks, (samples - 1) / 4 / same * near(masks), answers)
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-9)
    assert found.base_value[0] == pytest.approx(intercept)
    assert found.diagnostics["r2"][0] == pytest.approx(fits)
    assert found.standard_error is None
    assert found.diagnostics["exact"] is True
    assert len(asked) == len(set(asked)) == 16 == found.diagnostics["evaluations"]


def test_a_picture_of_few_segments_is_exact():
    from explainers.games.segmentation import segmented

    data, samples = pictures_of(), 300
    found = ex.explain(ex.Model.wrap(brightness), data, ex.Lime(samples=samples, segments=6), rows=[1])
    pixels = np.asarray(data.X[1:2], dtype=np.float32)
    parts = segmented(pixels, "superpixels", 6)[0]
    masks = every_mask(parts.max() + 1)
    shown = np.repeat(pixels, len(masks), axis=0)
    for mask, view in zip(masks, shown, strict=True):
        for part in np.flatnonzero(~mask):
            view[:, parts == part] = pixels[0][:, parts == part].mean(axis=1, keepdims=True)
    answers = np.append(brightness(pixels), brightness(shown))
    expected, intercept, _ = masked_ridge(masks, (samples - 1) / len(masks) * near(masks), answers)
    np.testing.assert_allclose(found.values[0, 0], expected[parts], atol=1e-6)
    assert found.base_value[0] == pytest.approx(intercept, abs=1e-6)
    assert found.standard_error is None


def test_texts_agree_with_the_package_and_vary_less():
    from lime.lime_text import LimeTextExplainer

    data, words = ex.Dataset.from_texts(SENTENCES), WORDS.split()
    model = ex.Model.wrap(mood_shares, classes=["sad", "glad"])
    package, found = [], []
    for seed in range(6):
        explainer = LimeTextExplainer(random_state=seed)
        answer = explainer.explain_instance(WORDS, mood_shares, num_features=len(words), num_samples=1000)
        weights = dict(answer.as_map()[1])
        package.append([weights[j] for j in range(len(words))])
        found.append(ex.explain(model, data, ex.Lime(samples=1000, seed=seed), rows=[2]))
    values = np.array([run.values[0] for run in found])
    error = np.mean([run.standard_error[0] for run in found], axis=0)
    theirs = np.std(package, axis=0, ddof=1)
    off = (values.mean(axis=0) - np.mean(package, axis=0)) / np.sqrt((error**2 + theirs**2) / 6)
    assert np.abs(off).max() < 5
    assert np.sqrt(np.var(values, axis=0, ddof=1).mean()) < 0.8 * np.sqrt((theirs**2).mean())
    assert found[0].diagnostics["tokens"] == (tuple(words),)


def test_pictures_agree_with_the_package_and_vary_less():
    from lime.lime_image import LimeImageExplainer

    data = pictures_of(1)
    model = ex.Model.wrap(brightness)
    package, found = [], []
    for seed in range(5):
        run = ex.explain(model, data, ex.Lime(samples=300, segments=12, seed=seed), rows=[0])
        parts = run.diagnostics["segments"][0]
        answer = LimeImageExplainer(random_state=seed).explain_instance(
            np.moveaxis(np.asarray(data.X[0], dtype=np.float64), 0, 2),
            lambda shown: brightness(np.moveaxis(shown, 3, 1))[:, None],
            labels=(0,), top_labels=None, num_samples=300, batch_size=100,
            segmentation_fn=lambda _, parts=parts: parts,
        )  # fmt: skip
        weights = dict(answer.local_exp[0])
        package.append([weights[j] for j in range(parts.max() + 1)])
        found.append(run)
    values = np.array([run.diagnostics["segment_values"][0] for run in found])
    error = np.array(
        [[run.standard_error[0, 0][parts == j][0] for j in range(parts.max() + 1)] for run in found]
    )
    theirs = np.std(package, axis=0, ddof=1)
    off = (values.mean(axis=0) - np.mean(package, axis=0)) / np.sqrt(
        (error.mean(axis=0) ** 2 + theirs**2) / 5
    )
    assert np.abs(off).max() < 6
    assert np.sqrt(np.var(values, axis=0, ddof=1).mean()) < 0.9 * np.sqrt((theirs**2).mean())


def test_the_error_of_masks_is_their_spread():
    model, data = ex.Model.wrap(mood), ex.Dataset.from_texts(SENTENCES)
    runs = [ex.explain(model, data, ex.Lime(samples=150, seed=seed), rows=[2]) for seed in range(40)]
    spread = np.sqrt(np.var([run.values[0] for run in runs], axis=0).mean())
    stated = np.sqrt(np.mean([run.standard_error[0] ** 2 for run in runs]))
    assert 0.85 < stated / spread < 1.8  # sizes have their weight exactly: the spread is rather less


@pytest.mark.parametrize("players", [0, 1, 2, 6])
def test_moments_are_those_of_all_masks(players):
    masks = every_mask(players)
    kept, b = masks.sum(axis=1), np.random.default_rng(2).normal(size=players)
    plain, with_it = power_means(b)
    for size in range(players + 1):
        some = masks[kept == size]
        for power in range(4):
            q = (some @ b) ** power
            assert plain[power, size] == pytest.approx(q.mean(), abs=1e-12)
            np.testing.assert_allclose(with_it[power, size], (some * q[:, None]).mean(axis=0), atol=1e-12)
            first = some[:, :power].all(axis=1).mean() if power <= players else 0
            assert together(players, 3)[power, size] == pytest.approx(first)


def asked(masks, answers_of):
    """Answers of the case, of the empty mask, and of the others, one output."""
    u = masks.masks.shape[1]
    return answers_of(np.concatenate([np.ones((1, u)), np.zeros((1, u)), masks.masks]))[:, None]


@pytest.mark.parametrize("kind", ["image", "text"])
@pytest.mark.parametrize(("squares", "least"), [(0.0, 3e-4), (0.3, 0.02)])
def test_what_the_copy_knows_is_not_left_to_chance(kind, squares, least):
    """Sizes, and squares of a sum over players, of which the direction is found: as from all 4,096 masks, written out."""
    b = np.random.default_rng(1).normal(size=12)

    def model(masks):
        curve = (masks @ (b - b.mean())) ** 2
        return masks @ b + (masks.sum(axis=1) / 12) ** 3 + squares * curve

    every = every_mask(12)
    kept = every.sum(axis=1)
    same = np.bincount(kept)[kept]
    likely = np.full(4096, 1 / 4096) if kind == "image" else np.where(kept < 12, 1 / 12 / same, 0)
    answers = np.append(model(np.ones((1, 12))), model(every))
    expected, intercept, fits = masked_ridge(every, 399 * likely * near(every), answers)
    for seed in range(3):
        masks = draw_masks(kind, 12, 400, seed)
        assert not masks.exact
        coefficients, error, base, r2 = MaskedRidge.of(masks).fit(asked(masks, model))
        np.testing.assert_allclose(coefficients[:, 0], expected, atol=least)
        assert base[0] == pytest.approx(intercept, abs=least)
        assert r2[0] == pytest.approx(fits, abs=0.01)
        assert error.max() < least


LONG = [f"{a}{b}{c}" for a in "bdfkl" for b in "aeio" for c in "nr"]


def long_mood(texts):
    """A probability, as a logistic regression on word counts gives it, and a pair of words."""
    weight = dict(zip(LONG, np.random.default_rng(4).normal(size=40), strict=True))
    lines = [sum(weight.get(word, 0.0) for word in text.split()) for text in texts]
    pair = [("ban" in text) * ("bar" in text) for text in texts]
    up = 1 / (1 + np.exp(-(np.array(lines) + np.array(pair))))
    return np.column_stack([1 - up, up])


def test_long_texts_vary_much_less_than_the_packages_and_say_by_how_much():
    from lime.lime_text import LimeTextExplainer

    text, samples = " ".join(LONG), 400
    model, data = ex.Model.wrap(long_mood, classes=["sad", "glad"]), ex.Dataset.from_texts([text])
    package = []
    for seed in range(8):
        answer = LimeTextExplainer(random_state=seed).explain_instance(
            text, long_mood, num_features=40, num_samples=samples
        )
        weights = dict(answer.as_map()[1])
        package.append([weights[j] for j in range(40)])
    found = [ex.explain(model, data, ex.Lime(samples=samples, seed=seed)) for seed in range(20)]
    assert found[0].diagnostics["evaluations"] <= samples
    values = np.array([run.values[0] for run in found])
    error = np.array([run.standard_error[0] for run in found])
    theirs = np.std(package, axis=0, ddof=1)
    spread = np.sqrt(np.var(values, axis=0, ddof=1).mean())
    assert spread < 0.5 * np.sqrt((theirs**2).mean())
    assert 0.85 < np.sqrt((error**2).mean()) / spread < 1.25
    off = (values.mean(axis=0) - np.mean(package, axis=0)) / np.sqrt(
        (error**2).mean(axis=0) / 20 + theirs**2 / 8
    )
    assert np.abs(off).max() < 5
    inside = np.abs(values - values.mean(axis=0)) < 1.96 * np.sqrt(19 / 20) * error
    assert 0.92 < inside.mean() < 0.98


def test_texts_keep_their_values_in_company_and_in_portions(monkeypatch):
    model, data = ex.Model.wrap(mood_shares, classes=["sad", "glad"]), ex.Dataset.from_texts(SENTENCES)
    whole = ex.explain(model, data, ex.Lime(samples=120))
    every = ex.explain(model, data, ex.Lime(samples=120), target="all")
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 40_000)
    for i in range(len(SENTENCES)):
        alone = ex.explain(model, data, ex.Lime(samples=120), rows=[i])
        np.testing.assert_allclose(alone.values[0], whole.values[i], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(every.values[i][:, 1], whole.values[i], atol=1e-12)
        reached = whole.base_value[i] + whole.values[i].sum()
        assert reached == pytest.approx(whole.diagnostics["local_prediction"][i])
    assert whole.values[4].shape == (0,)
    assert whole.base_value[4] == pytest.approx(whole.output[4])
