"""Sentences, word for word: who, compared with whom, by how much, on which scale, and how sure."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard import words
from dashboard.figures.numbers import THIN
from explainers import Attribution, Counterfactuals, Effect, Feature, Importance, Reference, Schema

CAUSE = "This describes the model, not the cause."
SCHEMA = Schema(
    (
        Feature("rr", "integer", "Respiratory rate", unit="/min"),
        Feature("asthma", "boolean", categories=(0, 1), category_labels=("no", "yes")),
        Feature("creat", "number", "Creatinine", unit="µmol/L"),
        Feature("age", "integer", unit="years"),
    )
)
CASE = np.array([38, 1, np.nan, 70])
PATIENTS = Reference(100, "train", "probability")


def attribution(values: object, **more: object) -> Attribution:
    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    m = len(array)
    known = {
        "base_value": np.full(m, 0.12), "output": np.full(m, 0.41), "space": "probability", "targets": ("dies",) * m,
        "reference": PATIENTS, "names": SCHEMA.names, **more,
    }  # fmt: skip
    return Attribution(values=array, **known)


def plain(sentence: str) -> str:
    """With ordinary spaces, as it is read."""
    return sentence.replace(THIN, " ")


@pytest.mark.parametrize(
    ("value", "space", "unit", "text"),
    [
        (0.41, "probability", "", "41 %"),
        (1.3, "raw", "", "1.3 log-odds"),
        (-0.4, "raw", "", "−0.4 log-odds"),
        (152.3, "target", "", "152.3"),
        (-152.3, "target", "mg/dL", "−152.3 mg/dL"),
        (float("nan"), "target", "mg/dL", "unknown"),
    ],
)
def test_prediction_text(value: float, space: str, unit: str, text: str) -> None:
    assert plain(words.prediction_text(value, space, unit)) == text


OPENING = "The model's estimate is 41 %, against 12 % for the 100 reference patients. "
WHY = [
    ([0.14, -0.09, 0.0, 0.01], {}, {}, OPENING + "Respiratory rate 38 /min raises the model's estimate by 14 points; asthma = yes lowers it by 9."),
    ([-0.14, 0.0, 0.0, 0.01], {}, {}, OPENING + "Respiratory rate 38 /min lowers the model's estimate by 14 points; age 70 years raises it by 1."),
    ([0.001, 0.0, 0.05, 0.0], {}, {}, OPENING + "Creatinine (missing) raises the model's estimate by 5 points; Respiratory rate 38 /min raises it by 0.1."),
    ([0.01, 0, 0, 0], {}, {}, OPENING + "Respiratory rate 38 /min raises the model's estimate by 1 point."),
    ([0.14, -0.09, 0, 0.01], {}, {"most": 1}, OPENING + "Respiratory rate 38 /min raises the model's estimate by 14 points."),
    ([0, 0, 0, 0], {}, {}, OPENING + "No feature moves the model's estimate."),
    (
        [0.14, -0.09, 0, 0], {}, {"subject": "patient", "class_name": "dies"},
        "The model's estimate of “dies” for this patient is 41 %, against 12 % for the 100 reference patients. "
        "Respiratory rate 38 /min raises the model's estimate by 14 points; asthma = yes lowers it by 9.",
    ),
    (
        [0.14, 0, 0, 0], {"base_value": np.array([np.nan]), "reference": None}, {},
        "The model's estimate is 41 %. Respiratory rate 38 /min raises the model's estimate by 14 points.",
    ),
    (
        [0.14, 0, 0, 0], {"reference": None}, {},
        "The model's estimate is 41 %, against a base value of 12 %. Respiratory rate 38 /min raises the model's estimate by 14 points.",
    ),
    (
        [0.14, 0, 0, 0], {"reference": Reference(1, "train", "probability")}, {},
        "The model's estimate is 41 %, against 12 % for the one reference case. Respiratory rate 38 /min raises the model's estimate by 14 points.",
    ),
    (
        [1.2, -0.35, 0, 0], {"space": "raw", "base_value": np.array([-1.2]), "output": np.array([-0.36])}, {},
        "The model's score is −0.36 log-odds, against −1.2 log-odds for the 100 reference patients. "
        "Respiratory rate 38 /min raises the model's score by 1.2 log-odds; asthma = yes lowers it by 0.35.",
    ),
    (
        [12.4, -3, 0, 0], {"space": "target", "base_value": np.array([140.0]), "output": np.array([152.3])}, {"unit": "mg/dL"},
        "The model's estimate is 152.3 mg/dL, against 140 mg/dL for the 100 reference patients. "
        "Respiratory rate 38 /min raises the model's estimate by 12.4 mg/dL; asthma = yes lowers it by 3.",
    ),
    (
        [0.14, -0.09, 0.3, 0.05], {"standard_error": np.array([[0.01, 0.01, 0.2, 0.01]])}, {},
        OPENING + "Respiratory rate 38 /min raises the model's estimate by 14 points; asthma = yes lowers it by 9. "
        "1 larger contribution is not yet resolved.",
    ),
    (
        [0.14, -0.13, 0, 0.05], {"standard_error": np.full((1, 4), 0.01)}, {},
        OPENING + "Respiratory rate 38 /min raises the model's estimate by 14 points; asthma = yes lowers it by 13. "
        "Respiratory rate and asthma are a near-tie.",
    ),
    (
        [0.14, -0.09, 0, 0.08], {"standard_error": np.full((1, 4), 0.01)}, {},
        OPENING + "Respiratory rate 38 /min raises the model's estimate by 14 points; asthma = yes lowers it by 9. "
        "asthma and age are a near-tie.",
    ),
    (
        [0.01, -0.01, 0, 0], {"standard_error": np.full((1, 4), 0.1)}, {},
        OPENING + "No contribution is resolved yet: all lie within the error of the calculation.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("values", "result", "asked", "sentence"), WHY)
def test_why_sentence(
    values: object, result: dict[str, object], asked: dict[str, object], sentence: str
) -> None:
    said = words.why_sentence(
        attribution(values, **result), SCHEMA, CASE, **{"subjects": "patients", **asked}
    )
    assert plain(said) == f"{sentence} {CAUSE}"


def test_log_odds_and_target_units_are_never_called_points() -> None:
    for space in ("raw", "target"):
        assert "point" not in words.why_sentence(attribution([1.0, -2.0, 0, 0], space=space), SCHEMA, CASE)


def test_one_output_of_all_and_the_row_are_respected() -> None:
    values = np.zeros((2, 4, 2))
    values[1, 3, 1] = -0.2
    both = attribution(
        values, base_value=np.full((2, 2), 0.5), output=np.array([[0.5, 0.5], [0.7, 0.3]]), targets=("a", "b")
    )
    said = plain(words.why_sentence(both, SCHEMA, CASE, 1, output=1, class_name="b"))
    assert said.startswith(
        "The model's estimate of “b” is 30 %, against 50 % for the 100 reference cases. age 70 years lowers"
    )


def test_without_the_case_features_are_named_without_values() -> None:
    assert "Respiratory rate raises" in words.why_sentence(attribution([0.1, 0, 0, 0]), SCHEMA, None)


def test_hostile_names_stay_on_one_line() -> None:
    schema = Schema((Feature("a\n# head\u202e" + "x" * 10_000), *SCHEMA.features[1:]))
    said = words.why_sentence(
        attribution([0.1, 0, 0, 0], names=schema.names), schema, CASE, class_name="b\n\nc", subjects="p\n"
    )
    assert not set(said) & set("\n\u202e")
    assert len(said) < 600
    assert "“b c”" in said


@pytest.mark.parametrize(
    ("count", "positives", "more", "sentence"),
    [
        (61, 24, {"outcome": "died"}, "Of 61 test cases given 35–45 %, 24 died."),
        (61, 0, {"outcome": "died"}, "Of 61 test cases given 35–45 %, none died."),
        (61, 24, {"class_name": "dies", "subjects": "test patients"}, "Of 61 test patients given 35–45 %, 24 had the outcome “dies”."),
        (19, 3, {"outcome": "died"}, "Of 19 test cases given 35–45 %, 3 died. Too few cases to judge."),
        (20, 3, {"outcome": "died"}, "Of 20 test cases given 35–45 %, 3 died."),
        (1, 1, {"outcome": "died"}, "Of 1 test case given 35–45 %, 1 died. Too few cases to judge."),
        (0, 0, {}, "None of the test cases was given 35–45 %: too few cases to judge."),
    ],
)  # fmt: skip
def test_calibration_sentence(count: int, positives: int, more: dict[str, str], sentence: str) -> None:
    assert plain(words.calibration_sentence(count, positives, 0.35, 0.45, **more)) == sentence


def importance(values: list[float], error: float = 0.0, **more: object) -> Importance:
    known = {"names": SCHEMA.names[: len(values)], **more}
    return Importance(
        values=np.array(values),
        metric="drop of AUC",
        standard_error=np.full(len(values), error) if error else None,
        **known,
    )


@pytest.mark.parametrize(
    ("left", "right", "sentence"),
    [
        (importance([3, 1, 2, 0.5]), None, "The model uses Respiratory rate most, then Creatinine and asthma."),
        (importance([3]), None, "The model uses Respiratory rate most."),
        (importance([3, 0.1, 0, 0], 0.2), None, "The model uses Respiratory rate most."),
        (importance([3, 2.9, 0, 0], 0.2), None, "The model uses Respiratory rate most, then asthma. The first two are a near-tie."),
        (importance([0.1, 0.1], 0.2), None, "No feature is resolved yet: all lie within the error of the estimate."),
        (importance([3]), importance([0.1, 0.3]), "The model uses Respiratory rate most. Its accuracy needs asthma most."),
        (importance([3]), importance([0.1], 0.2), "The model uses Respiratory rate most. What its accuracy needs is not yet resolved."),
        (importance([3], names=("g",), groups=(("age", "rr"),)), None, "The model uses age and 1 related most."),
    ],
)  # fmt: skip
def test_importance_sentence(left: Importance, right: Importance | None, sentence: str) -> None:
    assert words.importance_sentence(left, SCHEMA, right) == sentence


@pytest.mark.parametrize(
    ("name", "mean", "error", "sentence"),
    [
        (
            "rr",
            [0.1, 0.2, 0.4],
            0.01,
            "On average the model's estimate rises with Respiratory rate: 10 % at 10 /min, 40 % at 30 /min.",
        ),
        (
            "rr",
            [0.4, 0.2, 0.1],
            0.01,
            "On average the model's estimate falls with Respiratory rate: 40 % at 10 /min, 10 % at 30 /min.",
        ),
        (
            "rr",
            [0.2, 0.1, 0.4],
            0.01,
            "On average the model's estimate moves with Respiratory rate between 10 % (at 20 /min) and 40 % (at 30 /min).",
        ),
        (
            "rr",
            [0.2, 0.21, 0.2],
            0.01,
            "On average the model's estimate hardly moves with Respiratory rate: about 20 %.",
        ),
        (
            "asthma",
            [0.4, 0.1],
            0.01,
            "On average the model's estimate is lowest, 10 %, at asthma = yes and highest, 40 %, at no.",
        ),
    ],
)
def test_effect_sentence(name: str, mean: list[float], error: float, sentence: str) -> None:
    size = len(mean)
    grid = np.arange(2.0) if name == "asthma" else np.array([10.0, 20.0, 30.0])
    result = Effect(
        names=(name,),
        grids=(grid,),
        mean=(np.array(mean),),
        curves=(np.ones((2, size)),),
        standard_error=(np.full(size, error),),
        space="probability",
        targets=(),
    )
    assert plain(words.effect_sentence(result, name, SCHEMA)) == sentence


@pytest.mark.parametrize(
    ("lime", "known", "sentence"),
    [
        ([1, -1, 1, 0.5], {"r2": 0.64}, "same sign 4 of 4 · LIME fit R² .64"),
        ([1, 1, 0, -0.5], {}, "same sign 1 of 3"),
        ([0, 0, 0, 0], {"r2": 0.1}, "no feature in common · LIME fit R² .10"),
    ],
)
def test_agreement_sentence(lime: object, known: dict[str, object], sentence: str) -> None:
    shap = attribution([0.14, -0.09, 0.01, 0.02])
    assert words.agreement_sentence(shap, attribution(lime, diagnostics=known)) == sentence


def test_agreement_looks_at_the_largest_only() -> None:
    assert (
        words.agreement_sentence(attribution([4, 3, 2, 1]), attribution([1, 1, -1, -1]), most=2)
        == "same sign 2 of 2"
    )


FOUND = Counterfactuals(
    names=SCHEMA.names,
    original=np.array([CASE]),
    changed=np.array([[[24, 1, np.nan, 70], [30, 0, np.nan, 70]]]),
    found=np.array([2]),
    output=np.array([[0.19, 0.25]]),
    before=np.array([0.41]),
    wanted="at most 0.3",
    distance=np.ones((1, 2)),
    space="probability",
    targets=("dies",),
)


@pytest.mark.parametrize(
    ("rank", "sentence"),
    [
        (0, "Respiratory rate 38 → 24 /min: 19 %."),
        (1, "Respiratory rate 38 → 30 /min, asthma yes → no: 25 %."),
        (2, "No change within the limits was found that reaches at most 0.3."),
    ],
)
def test_counterfactual_sentence(rank: int, sentence: str) -> None:
    assert plain(words.counterfactual_sentence(FOUND, SCHEMA, 0, rank)) == sentence


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (
            {"explainer": "Nothing(a=1)", "rows": [17], "target": "dies"},
            "ex.explain(model, data, ex.Nothing(a=1), rows=[17], target='dies')",
        ),
        ({"explainer": "Nothing()", "rows": None, "target": None}, "ex.explain(model, data, ex.Nothing())"),
        (
            {"explainer": "Nothing()", "rows": [3, 4, 5, 6], "target": 1},
            "ex.explain(model, data, ex.Nothing(), rows=range(3, 7), target=1)",
        ),
        (
            {"explainer": "Nothing()", "rows": [3, 9, 5, 6]},
            "ex.explain(model, data, ex.Nothing(), rows=[3, 9, 5, 6])",
        ),
        (
            {"explainer": "Nothing()", "rows": "abc123", "background": "def"},
            "ex.explain(model, data, ex.Nothing(), rows=cases, background=background)",
        ),
        (
            {"explainer": "Nothing()", "target": "a'b\n"},
            'ex.explain(model, data, ex.Nothing(), target="a\'b\\n")',
        ),
        ({}, ""),
    ],
)
def test_reproduction_line(facts: dict[str, object], line: str) -> None:
    assert words.reproduction_line(attribution(np.zeros(4), provenance=facts)) == line


def test_the_line_and_the_footer_leave_out_defaults() -> None:
    import explainers

    kind = explainers.EXPLAINERS[0]
    assert words.short_call(repr(kind())) == f"{kind.__name__}()"
    seeded = next(
        kind for kind in explainers.EXPLAINERS if any(s.name == "seed" for s in explainers.settings_of(kind))
    )
    assert words.short_call(repr(seeded(seed=7))) == f"{seeded.__name__}(seed=7)"


@pytest.mark.parametrize("text", ["not a call", "a.b()", "f(", "__import__('os').system('x')"])
def test_what_is_no_plain_call_is_only_shown(text: str) -> None:
    assert words.short_call(text) == text


@pytest.mark.parametrize(
    ("known", "reference", "line"),
    [
        (
            {"exact": True, "seconds": 0.012, "seed": 0},
            PATIENTS,
            "probability scale · compared with 100 training cases · Nothing() · exact · under 0.1 s",
        ),
        (
            {"exact": False, "evaluations": 51200, "seconds": 12.3, "seed": 3},
            None,
            "probability scale · Nothing() · estimated from 51,200 model evaluations · seed 3 · 12 s",
        ),
        (
            {"exact": False, "cases": 1},
            Reference(1, "unknown", "probability", "may include training rows"),
            "probability scale · compared with 1 case (may include training rows) · Nothing() · 1 case · estimated",
        ),
        ({}, None, "probability scale · Nothing()"),
    ],
)
def test_footer(known: dict[str, object], reference: Reference | None, line: str) -> None:
    result = attribution(
        np.zeros(4), diagnostics=known, reference=reference, provenance={"explainer": "Nothing()"}
    )
    assert words.footer(result) == line


def test_the_footer_of_an_importance_states_what_is_known() -> None:
    result = importance([1.0], diagnostics={"exact": False, "cases": 400, "seconds": 2.0})
    assert words.footer(result) == "400 cases · estimated · 2.0 s"
