"""Figures as pure functions: what is drawn equals what was computed, in the right order, and names stay text."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

import explainers as ex
from dashboard.figures import figure_dict
from dashboard.figures.beeswarm import beeswarm
from dashboard.figures.contributions import Part, in_rows_of, parts, pooled
from dashboard.figures.counterfactual import changes, suggestion_table
from dashboard.figures.effect import effect
from dashboard.figures.images import averaged, class_bars, layer_png, map_limit, overlay_values
from dashboard.figures.importance import group_title, importances, in_scale
from dashboard.figures.numbers import Scale, counted, fixed, number, percent, r_squared
from dashboard.figures.palette import ACCENT, FADED, LOWERS, NEUTRAL, RAISES, by_sign
from dashboard.figures.performance import calibration, confusion, residuals, roc, score_histogram
from dashboard.figures.reasons import fit_of, reasons
from dashboard.figures.statistics import confusion_counts, nearby, rates_at, reliability, roc_points, wilson
from dashboard.figures.text import distinct, label_text, plain_text, safe_text, value_text
from dashboard.figures.waterfall import waterfall
from dashboard.linked.payload import validate
from explainers import Attribution, Counterfactuals, Effect, Feature, Importance, Reference, Schema

HOSTILE = (
    "<b>bold</b>",
    "<a href='https://x.example'>click</a>",
    "line\nbreak<br>and &lt;entity&gt;",
    "x" * 10_000,
    "\u202eevil\u202c\u2066",
    "$\\frac{1}{2}$",
    "2020-01-01",
    "\x00\x07\ud800",
    "عمر",
    "",
)
WIDE = Schema(tuple(Feature(f"f{j}", label=f"Feature {j}", unit="u") for j in range(14)))


def attribution(values: object, names: tuple[str, ...] = WIDE.names, **more: object) -> Attribution:
    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    m = len(array)
    known = {"base_value": np.full(m, 0.12), "space": "probability", "targets": ("yes",) * m, **more}
    output = known.pop("output", np.asarray(known["base_value"]) + array.sum(axis=1))
    return Attribution(names=names, values=array, output=output, **known)


SPREAD = np.array(
    [0.01, -0.09, 0.14, 0.002, -0.03, 0.05, 0.02, -0.01, 0.004, 0.003, 0.001, -0.002, 0.0, 0.06]
)
CASE = np.arange(14.0) - 3


def numbers_of(value: object) -> np.ndarray:
    return np.asarray(value, dtype=np.float64)


def every_figure(schema: Schema) -> dict[str, object]:
    """One figure of each kind over features of `schema`."""
    rng = np.random.default_rng(0)
    d = len(schema.features)
    cases = np.where([f.categorical for f in schema.features], 0.0, rng.normal(size=(30, d)))
    some = attribution(rng.normal(size=(30, d)) / 20, schema.names, standard_error=np.full((30, d), 0.01))
    grid = np.arange(2.0) if schema.features[0].categorical else np.linspace(-1, 1, 5)
    moved = Effect(
        names=schema.names[:1], grids=(grid,), mean=(np.linspace(0.1, 0.4, len(grid)),), curves=(rng.random((30, len(grid))),),
        standard_error=(np.full(len(grid), 0.02),), space="probability", targets=(),
    )  # fmt: skip
    classes = [feature.name for feature in schema.features]
    scores, truth = rng.random(60), rng.integers(0, 2, 60)
    return {
        "reasons": reasons(some, some, schema, cases[0]),
        "waterfall": waterfall(some, schema, cases[0]),
        "importances": importances(in_points(some), in_points(some), schema),
        "beeswarm": beeswarm(some, schema, cases, selected=3),
        "effect": effect(moved, schema.names[0], schema, (grid[0], 0.2), cases[:, 0]),
        "calibration": calibration(scores, truth, selected=0.4),
        "confusion": confusion(rng.integers(0, d, 60), rng.integers(0, d, 60), classes),
        "roc": roc(scores, truth, 0.5),
        "scores": score_histogram(scores, truth, 0.4, 0.5, names=(classes[0], classes[-1])),
        "residuals": residuals(scores, scores + 0.1, selected=4, unit=classes[0]),
        "classes": class_bars(scores[:d], classes, 1),
    }


# ---- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<b>age</b>", "&lt;b&gt;age&lt;/b&gt;"),
        ("a & b", "a &amp; b"),
        ("$x$", "&#36;x&#36;"),
        ("age\n\t(years)\r", "age (years)"),
        ("{x}", "&#123;x}"),
        ("\u202eevil\u202c", "⟨U+202E⟩evil⟨U+202C⟩"),
        ("a\u200bb\u200d", "a⟨U+200B⟩b⟨U+200D⟩"),
        ("نام\u200cه", "\u2068نام\u200cه\u2069"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("\u2068x", "⟨U+2068⟩x"),
        ("a\u2028b", "a b"),
        ("", "(no name)"),
        ("\x00\x07\x7f\x9b", "␀␇␡⟨U+009B⟩"),
        ("\ud800", "\ufffd"),
        ("عمر", "\u2068عمر\u2069"),
        (17, "17"),
    ],
)
def test_names_become_inert_text(name: object, shown: str) -> None:
    assert safe_text(name) == shown


def test_long_names_are_cut_with_an_ellipsis() -> None:
    assert plain_text("y" * 10_000, 20) == "y" * 19 + "…"
    assert plain_text("y" * 20, 20) == "y" * 20


@pytest.mark.parametrize(
    "name", ["عمر", "ع" * 50, "a\x00\u202e", "x" * 50, "عمر = 63", "\u2068x", "(no name)"]
)
def test_a_text_made_plain_twice_is_the_same_text(name: str) -> None:
    once = plain_text(name, 20)
    assert plain_text(once, 20) == once
    assert len(once.strip("\u2068\u2069")) <= 20
    assert once.count("\u2068") == once.count("\u2069")


def test_texts_to_choose_from_are_told_apart() -> None:
    assert distinct(["a", "b", "a", "a (2)", "a"]) == ["a", "b", "a (2)", "a (2) (2)", "a (3)"]


def test_a_unit_is_one_short_line_wherever_a_figure_stands() -> None:
    scale = Scale("target", "m\u202e\n" + "g" * 10_000)
    assert scale.level(2.0) == "2 m⟨U+202E⟩ " + "g" * 21 + "…"
    assert scale.axis == scale.unit


def test_cutting_never_leaves_half_an_entity() -> None:
    assert safe_text("&" * 50, 5) == "&amp;" * 4 + "…"


def test_labels_show_title_and_value_and_share_the_room() -> None:
    schema = Schema(
        (
            Feature("a", label="A very long title that needs cutting", unit="mmHg", kind="integer"),
            Feature("c", "category", categories=("x", "y")),
        )
    )
    assert label_text(schema, "c", 1.0) == "c = y"
    assert label_text(schema, "c", np.nan) == "c = missing"
    assert label_text(schema, "a", 120.0).endswith("… = 120 mmHg")
    assert len(label_text(schema, "a", 120.0)) <= 32
    assert label_text(schema, "a", 120.0, 120) == "A very long title that needs cutting = 120 mmHg"
    assert label_text(schema, "some group", None) == "some group"


def test_negative_values_have_a_true_minus_and_category_names_keep_theirs() -> None:
    assert value_text(Feature("t", unit="°C"), -5.0) == "−5 °C"
    assert value_text(Feature("c", "category", categories=("-low",)), 0.0) == "-low"


# ---- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.41, "41 %"), (0.004, "0.4 %"), (0.996, "99.6 %"), (0.0, "0 %"), (1.0, "100 %"), (1e-9, "under 0.1 %"), (1 - 1e-9, "over 99.9 %"), (0.0097, "1 %"), (-0.03, "−3 %"), (np.nan, "unknown"), (0.9906, "99.1 %")],
)  # fmt: skip
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text.replace(" %", "\u202f%")


@pytest.mark.parametrize(
    ("space", "unit", "value", "level", "change", "amount"),
    [
        ("probability", "", 0.141, "14\u202f%", "+14", "14 points"),
        ("probability", "", 0.01, "1\u202f%", "+1", "1 point"),
        ("probability", "", -0.004, "−0.4\u202f%", "−0.4", "0.4 points"),
        ("probability", "", 0.0, "0\u202f%", "0", "0 points"),
        ("probability", "", 0.0001, "under 0.1\u202f%", "0", "0 points"),
        ("raw", "", 1.3, "1.3 log-odds", "+1.3", "1.3 log-odds"),
        ("raw", "", -0.456, "−0.46 log-odds", "−0.46", "0.46 log-odds"),
        ("raw", "votes", 2.0, "2 votes", "+2", "2 votes"),
        ("target", "mg/dL", 152.34, "152.3 mg/dL", "+152", "152 mg/dL"),
        ("target", "", -0.05, "−0.05", "−0.05", "0.05"),
    ],
)
def test_scales(space: str, unit: str, value: float, level: str, change: str, amount: str) -> None:
    scale = Scale(space, unit)
    assert (scale.level(value), scale.change(value), scale.amount(value)) == (level, change, amount)


def test_log_odds_are_never_points() -> None:
    scale = Scale("raw")
    assert not any(
        "point" in text for text in (scale.axis, scale.level_axis, scale.amount(1.0), scale.level(1.0))
    )


def test_small_helpers_of_numbers() -> None:
    assert (fixed(-0.04, 1), number(-1234567.0), number(0.0), number(np.nan)) == (
        "0.0",
        "−1,234,567",
        "0",
        "unknown",
    )
    assert (r_squared(0.64), r_squared(-0.2), r_squared(1.0)) == (".64", "−.20", "1.00")
    assert (counted(1, "case"), counted(1200, "case"), counted(2, "query", "queries")) == (
        "1 case",
        "1,200 cases",
        "2 queries",
    )


# ---- contributions --------------------------------------------------------------------------------------------------


def test_parts_are_ordered_by_size_and_pooling_keeps_the_sum() -> None:
    error = np.full((1, 14), 0.003)
    every = parts(attribution(SPREAD, standard_error=error), WIDE, CASE)
    rows = pooled(every, 8)
    assert [part.names[0] for part in rows[:4]] == ["f2", "f1", "f13", "f5"]
    assert rows[-1].label == "6 other features"
    assert rows[-1].pooled
    assert sum(part.value for part in rows) == pytest.approx(SPREAD.sum())
    assert rows[-1].error == pytest.approx(0.003 * np.sqrt(6))


def test_a_rest_of_one_is_shown() -> None:
    every = [Part((str(i),), str(i), str(i), 1.0) for i in range(9)]
    assert [part.label for part in pooled(every, 8)] == [str(i) for i in range(9)]


@pytest.mark.parametrize(
    ("value", "error", "resolved"),
    [(1.0, 0.0, True), (1.0, 0.49, True), (1.0, 0.5, False), (-1.0, 0.6, False)],
)
def test_resolved_is_beyond_two_standard_errors(value: float, error: float, resolved: bool) -> None:
    assert Part(("a",), "a", "a", value, error).resolved is resolved


def test_other_explanations_follow_the_rows_by_name() -> None:
    rows = pooled(parts(attribution(SPREAD), WIDE, CASE), 2)
    other = attribution(np.arange(13.0), WIDE.names[:13])
    aligned = in_rows_of(rows, parts(other, WIDE, CASE))
    assert [part.value for part in aligned if part] == [2.0, 1.0, float(sum(range(13)) - 3)]
    assert in_rows_of([Part(("zz",), "", "", 0.0)], parts(other, WIDE, CASE)) == [None]


def test_one_output_of_all_is_taken() -> None:
    values = np.stack([SPREAD, -SPREAD], axis=-1)[None]
    both = Attribution(
        names=WIDE.names,
        values=values,
        base_value=np.zeros((1, 2)),
        output=np.ones((1, 2)),
        space="raw",
        targets=("a", "b"),
    )
    assert parts(both, WIDE, CASE, output=1)[0].value == -0.14


def test_images_have_no_bars() -> None:
    with pytest.raises(ValueError, match="one value per feature"):
        parts(attribution(np.zeros((1, 3)), names=("grey",)), WIDE, None)


# ---- reasons --------------------------------------------------------------------------------------------------------


def test_reasons_draws_shap_in_points_and_lime_on_its_own_axis() -> None:
    lime = attribution(SPREAD[::-1] * 2, diagnostics={"r2": [0.64]})
    figure = reasons(attribution(SPREAD), lime, WIDE, CASE)
    shap_bars, _, lime_bars, _ = figure.data
    order = np.argsort(-np.abs(SPREAD), kind="stable")[:8]
    assert list(shap_bars.customdata) == [f"f{j}" for j in order] + [""]
    assert numbers_of(shap_bars.x)[:8] == pytest.approx(100 * SPREAD[order])
    assert numbers_of(shap_bars.x).sum() == pytest.approx(100 * SPREAD.sum())
    assert numbers_of(lime_bars.x)[:8] == pytest.approx(SPREAD[::-1][order] * 2)
    assert (shap_bars.xaxis, lime_bars.xaxis) == ("x", "x2")
    assert figure.layout.xaxis.title.text == "SHAP,<br>percentage points"
    assert figure.layout.xaxis2.title.text == "LIME,<br>local weight"
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]
    assert figure.layout.yaxis.ticktext[0] == "Feature 2 = −1 u"
    assert figure.layout.yaxis.ticktext[-1] == "6 other features"


@pytest.mark.parametrize(("fit", "title", "opacity"), [(0.23, "LIME,<br>weak fit (R² .23)", FADED), (0.3, "LIME,<br>local weight", 1.0), (np.nan, "LIME,<br>weak fit (R² unknown)", FADED)])  # fmt: skip
def test_weak_lime_fades_and_says_so(fit: float, title: str, opacity: float) -> None:
    figure = reasons(attribution(SPREAD), attribution(SPREAD, diagnostics={"r2": fit}), WIDE, CASE)
    assert figure.layout.xaxis2.title.text == title
    assert set(figure.data[2].marker.opacity) == {opacity}


@pytest.mark.parametrize(("space", "unit", "title"), [("probability", "", "SHAP, percentage points"), ("raw", "", "SHAP, log-odds (raw score)"), ("raw", "votes", "SHAP, votes"), ("target", "mg/dL", "SHAP, mg/dL"), ("target", "", "SHAP, units of the target")])  # fmt: skip
def test_one_column_states_the_scale(space: str, unit: str, title: str) -> None:
    figure = reasons(attribution(SPREAD, space=space), None, WIDE, CASE, unit=unit)
    assert len(figure.data) == 2
    assert figure.layout.xaxis.title.text == title
    assert numbers_of(figure.data[0].x)[0] == pytest.approx(0.14 * (100 if space == "probability" else 1))


def test_colours_and_figures_follow_the_sign() -> None:
    bars, texts = reasons(attribution(SPREAD), None, WIDE, CASE).data
    assert [RAISES if value > 0 else LOWERS for value in numbers_of(bars.x)] == list(bars.marker.color)
    assert [text.strip() for text in texts.text[:3]] == ["+14", "−9", "+6"]
    assert list(texts.textposition[:2]) == ["middle right", "middle left"]
    assert [by_sign(value) for value in (0.0, np.nan)] == [NEUTRAL, NEUTRAL]


def test_error_bars_are_two_standard_errors_and_unresolved_bars_fade() -> None:
    error = np.where(np.arange(14) == 1, 0.08, 0.001)[None]
    bars = reasons(attribution(SPREAD, standard_error=error, background_error=error), None, WIDE, CASE).data[
        0
    ]
    assert numbers_of(bars.error_x.array)[:3] == pytest.approx([0.2, 16.0, 0.2])
    assert list(bars.marker.opacity[:3]) == [1.0, FADED, 1.0]
    assert "error of the calculation, not of the model or the patient" in bars.hovertext[0]
    assert "with another draw of reference cases" in bars.hovertext[0]
    assert "not yet resolved" in bars.hovertext[1]


def test_exact_values_have_no_error_bars() -> None:
    bars = reasons(attribution(SPREAD), None, WIDE, CASE).data[0]
    assert bars.error_x.array is None
    assert "error of the calculation" not in bars.hovertext[0]


def test_rows_and_height_stay_when_values_change() -> None:
    one = reasons(attribution(SPREAD), None, WIDE, CASE)
    other = reasons(attribution(SPREAD[::-1] * 3), None, WIDE, CASE * 100)
    assert one.layout.height == other.layout.height == 22 * 9 + 80
    assert len(one.data[0].y) == len(other.data[0].y) == 9
    assert list(one.layout.yaxis.range) == [8.5, -0.5]


def test_few_features_make_few_rows() -> None:
    figure = reasons(attribution([0.1, -0.2], ("f0", "f1")), None, WIDE, CASE)
    assert figure.layout.height == 22 * 2 + 80


@pytest.mark.parametrize(
    ("known", "fit"),
    [({}, None), ({"r2": 0.5}, 0.5), ({"r2": [0.1, 0.7]}, 0.7), ({"r2": [[0.1, 0.2], [0.3, 0.4]]}, 0.3)],
)
def test_fit_is_read_for_the_case(known: dict[str, object], fit: float | None) -> None:
    assert fit_of(attribution(np.zeros((2, 14)), diagnostics=known), 1) == fit


def test_the_pointer_reads_the_condition_that_lime_weighs() -> None:
    lime = attribution(SPREAD, diagnostics={"conditions": [[f"f{j} > <{j}>" for j in range(14)]]})
    bars = reasons(attribution(SPREAD), lime, WIDE, CASE).data[2]
    assert "weight of: f2 &gt; &lt;2&gt;" in bars.hovertext[0]
    assert "raises LIME's local copy" in bars.hovertext[0]
    assert "weight of" not in bars.hovertext[-1]


# ---- waterfall ------------------------------------------------------------------------------------------------------


def test_waterfall_walks_from_base_to_prediction() -> None:
    figure = waterfall(attribution(SPREAD), WIDE, CASE)
    steps, _, ends = figure.data
    starts, sizes = numbers_of(steps.base), numbers_of(steps.x)
    assert starts[-1] == pytest.approx(12.0)
    assert starts[0] + sizes[0] == pytest.approx(12 + 100 * SPREAD.sum())
    assert starts[:-1] == pytest.approx(starts[1:] + sizes[1:])
    assert numbers_of(ends.x) == pytest.approx([12 + 100 * SPREAD.sum(), 12.0])
    assert list(ends.marker.color) == [ACCENT, NEUTRAL]
    assert (figure.layout.yaxis.ticktext[0], figure.layout.yaxis.ticktext[-1]) == (
        "model's estimate",
        "base value",
    )
    assert [shape.x0 for shape in figure.layout.shapes] == pytest.approx(list(numbers_of(ends.x)))
    assert figure.layout.height == 22 * 11 + 80


def test_waterfall_without_a_base_value_says_why() -> None:
    figure = waterfall(attribution(SPREAD, base_value=np.array([np.nan]), output=np.ones(1)), WIDE, CASE)
    assert len(figure.data) == 0
    assert "no base value" in figure.layout.annotations[0].text
    assert figure.layout.height == 22 * 11 + 80


# ---- importance -----------------------------------------------------------------------------------------------------


def importance(names: tuple[str, ...], values: list[float], **more: object) -> Importance:
    return Importance(names=names, values=np.array(values), metric="drop of AUC", **more)


def in_points(some: ex.Attribution) -> ex.Importance:
    return in_scale(ex.mean_absolute(some), some.space)


def test_importance_is_drawn_in_points() -> None:
    found = in_points(attribution(np.vstack([SPREAD, -3 * SPREAD])))
    assert found.values == pytest.approx(200 * np.abs(SPREAD))
    assert found.metric == "mean |SHAP|, percentage points"
    assert found.standard_error == pytest.approx(100 * np.abs(SPREAD))


def test_importances_are_ordered_by_the_left_and_aligned_by_name() -> None:
    left = in_points(attribution(np.vstack([SPREAD, SPREAD])))
    right = importance(("f1", "f2", "f12"), [0.1, 0.05, 0.01], standard_error=np.full(3, 0.02))
    figure = importances(left, right, WIDE, most=3)
    uses, _, needs, _ = figure.data
    assert list(uses.customdata) == ["f2", "f1", "f13", ""]
    assert numbers_of(needs.x)[:2] == pytest.approx([0.05, 0.1])
    assert np.isnan(numbers_of(needs.x)[2])
    assert numbers_of(needs.x)[3] == pytest.approx(0.01)
    assert numbers_of(needs.error_x.array)[0] == pytest.approx(0.04)
    assert numbers_of(uses.x).sum() == pytest.approx(100 * np.abs(SPREAD).sum())
    assert figure.layout.xaxis.title.text == "what the model uses<br>mean |SHAP|, percentage points"
    assert figure.layout.xaxis2.title.text == "what accuracy needs<br>drop of AUC"
    assert not {RAISES, LOWERS} & {uses.marker.color, needs.marker.color}


def test_groups_share_a_row_and_are_named_by_their_first() -> None:
    left = importance(("f0", "f1", "f2"), [3.0, 1.0, 2.5])
    right = importance(("pair", "f0"), [0.4, 0.1], groups=(("f1", "f2"), ("f0",)))
    figure = importances(left, right, WIDE)
    assert list(figure.layout.yaxis.ticktext) == ["Feature 1 and 1 related", "Feature 0"]
    assert list(numbers_of(figure.data[0].x)) == [3.5, 3.0]
    assert list(numbers_of(figure.data[2].x)) == [0.4, 0.1]
    assert "Feature 1, Feature 2" in figure.data[0].hovertext[0]
    assert group_title(WIDE, ("f3",)) == "Feature 3"


def test_the_selected_feature_is_outlined() -> None:
    bars = importances(importance(("f0", "f1"), [2.0, 1.0]), None, WIDE, selected="f1").data[0]
    assert list(bars.marker.line.width) == [0, 2]


# ---- beeswarm -------------------------------------------------------------------------------------------------------


def test_beeswarm_thins_keeps_extremes_and_marks_the_case() -> None:
    values = np.random.default_rng(1).normal(size=(1000, 3)) * [1, 3, 2]
    cases = values.copy()
    cases[:500, 0] = np.nan
    schema = Schema(WIDE.features[:3])
    figure = beeswarm(
        attribution(values, schema.names, space="raw"),
        schema,
        cases,
        np.arange(1000) + 5,
        selected=17,
        per_feature=100,
    )
    dots, ring = figure.data
    assert dots.type == "scatter"
    assert list(figure.layout.yaxis.ticktext) == ["Feature 1", "Feature 2", "Feature 0"]
    assert 300 <= len(dots.x) <= 303
    assert numbers_of(dots.x).max() == pytest.approx(values[:, 1].max(), rel=1e-6)
    assert list(ring.customdata) == [17, 17, 17]
    assert numbers_of(ring.x) == pytest.approx(values[12, [1, 2, 0]], rel=1e-6)
    last_row = numbers_of(dots.y) > 1.5
    assert (numbers_of(dots.marker.color)[last_row] == 0).sum() == sum(
        "missing" in text for text in np.array(dots.text)[last_row]
    )
    assert (numbers_of(dots.marker.color) == 0).sum() > 20


def test_beeswarm_is_the_same_each_time_and_stays_in_its_rows() -> None:
    values = np.random.default_rng(2).normal(size=(300, 14))
    one, two = (beeswarm(attribution(values), WIDE, values) for _ in range(2))
    assert figure_dict(one) == figure_dict(two)
    y = numbers_of(one.data[0].y)
    assert np.abs(y - y.round()).max() < 0.4
    assert one.layout.yaxis.ticktext[-1] == "4 other features"
    assert len(y) <= 2000
    assert one.data[0].type == "scatter"


def test_beeswarm_uses_webgl_only_above_two_thousand_dots() -> None:
    values = np.random.default_rng(3).normal(size=(1500, 2))
    schema = Schema(WIDE.features[:2])
    figure = beeswarm(attribution(values, schema.names), schema, values, per_feature=1500)
    assert figure.data[0].type == "scattergl"


# ---- effect ---------------------------------------------------------------------------------------------------------


def test_effect_draws_cases_mean_and_density_and_greys_what_is_outside() -> None:
    grid = np.linspace(0, 10, 6)
    curves = np.random.default_rng(0).random((80, 6))
    result = Effect(
        names=("f0",),
        grids=(grid,),
        mean=(curves.mean(0),),
        curves=(curves,),
        standard_error=(np.full(6, 0.01),),
        space="probability",
        targets=(),
    )
    figure = effect(result, "f0", WIDE, (4.0, 0.5), np.array([2.0, 3.0, 8.0, np.nan]))
    thin, band, mean, dot, density = figure.data
    assert len(thin.x) == 50 * 7
    assert numbers_of(mean.y) == pytest.approx(100 * curves.mean(0))
    assert numbers_of(band.y)[0] == pytest.approx(100 * curves.mean(0)[0] + 2)
    assert (dot.x[0], dot.y[0]) == (4.0, 50.0)
    assert numbers_of(density.y).sum() == 3
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(0.0, 2.0), (8.0, 10.0)]
    assert figure.layout.xaxis.title.text == "Feature 0, u"
    assert figure.layout.yaxis.title.text == "model's estimate, %"


def test_effect_of_a_category_is_bars_named_by_the_category() -> None:
    schema = Schema((Feature("c", "category", categories=("<b>x</b>", "y")),))
    result = Effect(
        names=("c",),
        grids=(np.arange(2.0),),
        mean=(np.array([1.0, 2.0]),),
        curves=(np.ones((3, 2)),),
        standard_error=(np.zeros(2),),
        space="target",
        targets=(),
    )
    figure = effect(result, "c", schema, None, np.array([0.0, 0.0, 1.0]))
    assert figure.data[0].type == "bar"
    assert list(figure.layout.xaxis.ticktext) == ["&lt;b&gt;x&lt;/b&gt;", "y"]
    assert list(figure.data[1].y) == [2, 1]
    assert len(figure.layout.shapes) == 0


# ---- performance ----------------------------------------------------------------------------------------------------


def test_reliability_counts_every_case_once() -> None:
    table = reliability(np.array([0.0, 0.05, 0.35, 0.39, 1.0]), np.array([0, 1, 1, 0, 1]))
    assert list(table.count) == [2, 0, 0, 2, 0, 0, 0, 0, 0, 1]
    assert table.observed[[0, 3, 9]] == pytest.approx([0.5, 0.5, 1.0])
    assert table.predicted[3] == pytest.approx(0.37)
    assert np.isnan(table.observed[1])


def test_wilson_interval_of_ten_in_twenty() -> None:
    low, high = wilson(np.array([10]), np.array([20]))
    assert (low[0], high[0]) == pytest.approx((0.2993, 0.7007), abs=1e-4)


def test_nearby_counts_cases_of_about_the_same_probability() -> None:
    assert nearby(np.array([0.34, 0.36, 0.44, 0.46]), np.array([1, 1, 0, 1]), 0.4) == (
        2,
        1,
        pytest.approx(0.35),
        pytest.approx(0.45),
    )


def test_roc_equals_the_slow_count_with_ties() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 6, 50) / 5, rng.integers(0, 2, 50)
    false, true, cuts = roc_points(scores, truth)
    slow = [(np.mean(scores[truth == 0] >= cut), np.mean(scores[truth == 1] >= cut)) for cut in cuts]
    assert list(zip(false, true, strict=True)) == [pytest.approx(pair) for pair in slow]
    assert rates_at(scores, truth, 0.6) == pytest.approx(
        (np.mean(scores[truth == 0] >= 0.6), np.mean(scores[truth == 1] >= 0.6))
    )
    assert np.isnan(rates_at(scores, np.ones(50), 0.5)[0])


def test_roc_marks_the_threshold() -> None:
    scores, truth = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0, 1, 0, 1])
    figure = roc(scores, truth, 0.5)
    assert (figure.data[2].x[0], figure.data[2].y[0]) == (50.0, 50.0)


def test_calibration_fades_bins_of_few_cases() -> None:
    scores = np.concatenate([np.full(30, 0.1), np.full(5, 0.8)])
    figure = calibration(scores, np.concatenate([np.zeros(27), np.ones(3), np.ones(5)]), selected=0.8)
    line, points = figure.data[1], figure.data[2]
    assert list(points.marker.opacity) == [1.0, FADED]
    assert numbers_of(points.y) == pytest.approx([10.0, 100.0])
    assert len(line.x) == 1
    assert "too few cases to judge" in points.hovertext[1]
    assert figure.layout.shapes[0].x0 == 80.0


def test_confusion_counts_rows_by_truth() -> None:
    truth, said = np.array([0, 0, 0, 1, -1]), np.array([0, 1, 1, 1, 0])
    assert confusion_counts(truth, said, 2).tolist() == [[1, 2], [0, 1]]
    cells, words = confusion(truth, said, ["no", "yes"]).data
    assert numbers_of(cells.z) == pytest.approx(np.array([[1 / 3, 2 / 3], [0, 1]]))
    assert words.text[1] == "2<br>67\u202f%"
    assert "2 of 3 true “no”" in cells.hovertext[0][1]


def test_score_histogram_shows_truth_only_when_asked() -> None:
    scores, truth = np.array([0.1, 0.2, 0.9]), np.array([0, 0, 1])
    hidden = score_histogram(scores, None, 0.41, 0.3)
    assert [trace.type for trace in hidden.data] == ["bar", "scatter"]
    assert numbers_of(hidden.data[0].y).sum() == 3
    assert sorted(shape.x0 for shape in hidden.layout.shapes) == [30.0, 41.0]
    shown = score_histogram(scores, truth, names=("lives", "dies"))
    assert [(trace.name, numbers_of(trace.y).sum()) for trace in shown.data] == [("lives", 2), ("dies", 1)]


def test_residuals_leave_out_missing_truth() -> None:
    figure = residuals(
        np.array([1.0, 2.0, 3.0]), np.array([2.0, np.nan, 1.0]), np.array([7, 8, 9]), selected=9, unit="mg"
    )
    assert list(figure.data[0].customdata) == [7, 9]
    assert list(figure.data[0].y) == [1.0, -2.0]
    assert (figure.data[1].x[0], figure.data[1].y[0]) == (3.0, -2.0)
    assert figure.layout.yaxis.title.text == "true − predicted, mg"


# ---- images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_layer_png_keeps_pixels(channels: int, mode: str) -> None:
    picture = np.random.default_rng(0).random((channels, 4, 5))
    address = layer_png(picture, upscale=2)
    image = Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,"))))
    assert (image.mode, image.size) == (mode, (10, 8))
    pixels = np.asarray(image).reshape(8, 10, channels)[::2, ::2]
    assert np.abs(pixels / 255 - np.moveaxis(picture, 0, 2)).max() <= 0.5 / 255 + 1e-9


def test_layer_png_cuts_values_and_refuses_other_shapes() -> None:
    layer_png(np.array([[[np.nan, -1.0, 7.0]]]))
    with pytest.raises(ValueError, match="shape"):
        layer_png(np.zeros((2, 3, 3)))


def test_overlay_sums_channels_and_is_clipped_at_the_percentile() -> None:
    values = np.random.default_rng(0).normal(size=(3, 20, 20))
    overlay = overlay_values(values)
    summed = values.sum(axis=0)
    full = np.percentile(np.abs(summed), 99.9)
    assert map_limit(values) == pytest.approx(full)
    assert painted(overlay) == pytest.approx(np.clip(summed / full, -1, 1), abs=0.5 / 127 + 1e-9)
    assert painted(overlay_values(values, 2.0)) == pytest.approx(np.clip(summed / 2, -1, 1), abs=0.5 / 127)
    assert map_limit(values, 10 * values) > map_limit(values)


def painted(overlay: dict[str, Any]) -> np.ndarray:
    """What the browser makes of a map: from -1 to 1."""
    steps = np.frombuffer(base64.b64decode(overlay["values"]["bdata"]), dtype=overlay["values"]["dtype"])
    return steps.reshape(overlay["shape"]) / overlay["limit"]


def test_a_map_says_whether_it_has_signs() -> None:
    assert overlay_values(np.array([[[1.0, -3.0]]]))["signed"]
    assert not overlay_values(np.array([[[1.0, 0.0]]]))["signed"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 2), (10, 11)], ids=str)
def test_averaging_keeps_the_mean_of_each_block(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=(2, *shape))
    found = averaged(values, 4)
    every = -(-max(shape) // 4)
    for i in range(found.shape[1]):
        for j in range(found.shape[2]):
            block = values[:, i * every : (i + 1) * every, j * every : (j + 1) * every]
            assert found[:, i, j] == pytest.approx(block.mean(axis=(1, 2)))
    assert max(found.shape[1:]) <= 4
    assert averaged(values, 11) is values


def test_a_large_map_is_sent_no_finer_than_a_screen() -> None:
    overlay = overlay_values(np.ones((1, 1500, 40)))
    assert overlay["shape"] == [500, 14]
    assert (painted(overlay) == 1).all()


def test_limit_is_above_zero_for_sparse_and_empty_maps() -> None:
    sparse = np.zeros((1, 100, 100))
    sparse[0, 3, 3] = -5.0
    assert map_limit(sparse) == 5.0
    assert map_limit(np.zeros((1, 4, 4))) == 1.0


def test_class_bars_are_ordered_and_mark_the_target() -> None:
    bars = class_bars(np.array([0.17, 0.81, 0.02]), ["none", "finding", "odd"], 0).data[0]
    assert list(bars.customdata) == [1, 0, 2]
    assert list(bars.marker.color) == [NEUTRAL, ACCENT, NEUTRAL]
    assert list(numbers_of(bars.x)) == pytest.approx([81, 17, 2])


def test_the_target_is_always_among_the_class_bars() -> None:
    bars = class_bars(np.linspace(1, 0, 20), [str(i) for i in range(20)], 19, most=4).data[0]
    assert list(bars.customdata) == [0, 1, 2, 19]


# ---- counterfactuals ------------------------------------------------------------------------------------------------

PATIENT = Schema(
    (
        Feature("rr", "integer", "Respiratory rate", unit="/min"),
        Feature("asthma", "boolean", categories=(0, 1), category_labels=("no", "yes")),
        Feature("age", "integer", unit="years", change="immutable"),
        Feature("urea", unit="mmol/L"),
    )
)
SUGGESTED = Counterfactuals(
    names=PATIENT.names,
    original=np.array([[38, 1, 70, np.nan]]),
    changed=np.array([[[24, 1, 70, np.nan], [30, 0, 70, 5.5], [np.nan] * 4]]),
    found=np.array([2]),
    output=np.array([[0.19, 0.25, np.nan]]),
    before=np.array([0.41]),
    wanted="at most 0.3",
    distance=np.array([[1.0, 2.0, np.nan]]),
    space="probability",
    targets=("dies",),
)


def texts_of(row: dict[str, list[dict[str, str]]]) -> list[str]:
    return [cell["text"] for cell in row["cells"]]


def test_one_suggestion_is_now_then_difference() -> None:
    table = suggestion_table(SUGGESTED, PATIENT, rank=0)
    assert [column["label"] for column in table["columns"]] == ["", "now", "then", "difference"]
    assert texts_of(table["rows"][0]) == ["model's estimate", "41\u202f%", "19\u202f%", "−22"]
    assert texts_of(table["rows"][1]) == ["Respiratory rate", "38 /min", "24 /min", "−14"]
    assert [cell.get("tone") for cell in table["rows"][1]["cells"]] == [None, None, "changed", "changed"]
    assert len(table["rows"]) == 2


def test_all_suggestions_stand_side_by_side_and_only_changes_are_coloured() -> None:
    table = suggestion_table(SUGGESTED, PATIENT)
    assert [column["id"] for column in table["columns"]] == ["feature", "now", "suggestion0", "suggestion1"]
    assert [texts_of(row) for row in table["rows"][1:]] == [
        ["Respiratory rate", "38 /min", "24 /min", "30 /min"],
        ["asthma", "yes", "as now", "no"],
        ["urea", "missing", "as now", "5.5 mmol/L"],
    ]
    assert [cell.get("tone") for cell in table["rows"][2]["cells"]] == [None, None, "muted", "changed"]


def test_everything_shows_what_is_locked() -> None:
    table = suggestion_table(SUGGESTED, PATIENT, everything=True)
    assert texts_of(table["rows"][3]) == ["age (locked)", "70 years", "as now", "as now"]


def test_the_table_keeps_the_contract_of_the_linked_host() -> None:
    for rank in (None, 0):
        validate(
            {"blocks": [{"id": "t", "kind": "table", **suggestion_table(SUGGESTED, PATIENT, rank=rank)}]}
        )


def test_changes_name_the_unit_once() -> None:
    assert changes(SUGGESTED, PATIENT, rank=0) == ["Respiratory rate 38 → 24 /min"]
    assert changes(SUGGESTED, PATIENT, rank=1) == [
        "Respiratory rate 38 → 30 /min",
        "asthma yes → no",
        "urea missing → 5.5 mmol/L",
    ]


# ---- all figures ----------------------------------------------------------------------------------------------------


def strings_in(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [
            text
            for name, part in value.items()
            if name not in ("bdata", "customdata")
            for text in strings_in(part)
        ]
    return [text for part in value for text in strings_in(part)] if isinstance(value, (list, tuple)) else []


@pytest.mark.parametrize("categorical", [False, True])
def test_hostile_names_are_inert_in_every_figure(categorical: bool) -> None:
    if categorical:
        features = tuple(
            Feature(f"{name}{i}", "category", categories=(name, f"{name}!")) for i, name in enumerate(HOSTILE)
        )
    else:
        features = tuple(Feature(f"{name}{i}", unit=name) for i, name in enumerate(HOSTILE))
    for kind, figure in every_figure(Schema(features)).items():
        packed = figure_dict(figure)
        texts = strings_in(packed)
        for text in texts:
            allowed = text.replace("<br>", "").replace("<extra></extra>", "")
            assert "<" not in allowed, (kind, text)
            assert not set(text) & set("\n\r\x00\x07\u202e\u202c\u2066"), (kind, text)
            assert len(text) < 700, (kind, len(text))
        json.dumps(packed, allow_nan=False).encode("utf-8")


def test_every_figure_passes_the_check_that_its_making_leaves_out() -> None:
    for kind, figure in every_figure(PATIENT).items():
        if isinstance(figure, go.Figure):
            assert len(go.Figure(figure.to_plotly_json(), skip_invalid=False).data) == len(figure.data), kind


def test_every_figure_is_small_transparent_and_without_a_template() -> None:
    for kind, figure in every_figure(PATIENT).items():
        packed = figure_dict(figure)
        layout = packed["layout"]
        assert "template" not in layout, kind
        assert "title" not in layout, kind
        assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)", kind
        assert "color" not in layout["font"], kind
        assert layout["height"] > 0, kind
        assert len(json.dumps(packed)) < 40_000, kind


def test_arrays_travel_as_typed_arrays() -> None:
    packed = figure_dict(reasons(attribution(SPREAD), None, WIDE, CASE))
    assert set(packed["data"][0]["x"]) == {"dtype", "bdata"}


def test_empty_arrays_and_gaps_are_still_json() -> None:
    figure = residuals(np.empty(0), np.empty(0))
    assert json.loads(json.dumps(figure_dict(figure), allow_nan=False))["data"][0]["x"] == []


def test_the_reference_does_not_change_the_picture() -> None:
    with_reference = attribution(SPREAD, reference=Reference(100, "train", "probability"))
    assert figure_dict(reasons(with_reference, None, WIDE, CASE)) == figure_dict(
        reasons(attribution(SPREAD), None, WIDE, CASE)
    )
