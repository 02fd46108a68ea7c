"""Results in plain sentences: who, compared with whom, by how much, on which scale, and how sure.

Pure functions. Names come from the schema only and stand as they are (`plain_text`: show the sentences as text, not
as markdown). The sign % follows a narrow no-break space, minus signs are minus signs. A value within two standard
errors of zero is "not yet resolved" and is not named; two whose order is within the error are a near-tie.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dashboard.figures.contributions import RESOLVED_AT, Part, level_of, parts
from dashboard.figures.counterfactual import changes
from dashboard.figures.importance import group_title
from dashboard.figures.numbers import Scale, counted, fixed, number, percent, r_squared
from dashboard.figures.reasons import fit_of
from dashboard.figures.statistics import FEW
from dashboard.figures.text import feature_of, plain_text, title_text, value_text
from dashboard.footers import footer, reproduction_line, short_call
from explainers import Attribution, Counterfactuals, Effect, Importance, Model, Schema

__all__ = [
    "agreement_sentence",
    "calibration_sentence",
    "counterfactual_sentence",
    "effect_sentence",
    "footer",
    "importance_sentence",
    "log_text",
    "prediction_text",
    "reproduction_line",
    "scale_sentence",
    "short_call",
    "why_sentence",
]

#: Of a text from outside, in a line of the log.
LONGEST_LOGGED = 200

NOT_THE_CAUSE = "This describes the model, not the cause."


def prediction_text(value: float, space: str, unit: str = "") -> str:
    """``41 %``, ``1.3 log-odds``, ``152.3 mg/dL``."""
    return Scale(space, unit).level(value)


def log_text(value: object) -> str:
    """A name for the log: one line, nothing a terminal obeys, never endless, and told from our own words by its quotes.

    Give it as an argument (``log.info("opened %s", log_text(name))``), never inside the message.
    """
    return ascii(plain_text(value, LONGEST_LOGGED))


def why_sentence(
    attribution: Attribution,
    schema: Schema,
    case: np.ndarray | None,
    row: int = 0,
    *,
    subject: str = "",
    subjects: str = "cases",
    class_name: str = "",
    unit: str = "",
    output: int = 0,
    most: int = 2,
) -> str:
    """The prediction, what it is compared with, and the largest resolved contributions.

    Args:
        attribution: values per feature.
        schema: the features.
        case: codes of the case, or ``None``: then features are named without their values.
        row: which case of the attribution.
        subject, subjects: what a case is: ``patient``, ``patients``.
        class_name: the class explained, where there are several.
        unit: the target's unit.
        output: which output, where all were explained.
        most: how many features are named.
    """
    scale = Scale(attribution.space, unit)
    every = parts(attribution, schema, case, row, output)
    resolved = [part for part in every if part.resolved and scale.size(part.value) != "0"]
    said = [_opening(attribution, scale, row, output, subject, subjects, class_name)]
    if resolved:
        said.append(_contributions(resolved[:most], schema, case, scale))
        said += _caveats(every, resolved, most)
    elif any(not part.resolved for part in every):
        said.append("No contribution is resolved yet: all lie within the error of the calculation.")
    else:
        said.append(f"No feature moves the model's {scale.noun}.")
    return " ".join([*said, NOT_THE_CAUSE])


def _opening(
    attribution: Attribution,
    scale: Scale,
    row: int,
    output: int,
    subject: str,
    subjects: str,
    class_name: str,
) -> str:
    of = f" of “{plain_text(class_name, 40)}”" if class_name else ""
    here = f" for this {plain_text(subject, 40)}" if subject else ""
    level = plain_text(scale.level(level_of(attribution.output, row, output)))
    sentence = f"The model's {scale.noun}{of}{here} is {level}"
    base, reference = level_of(attribution.base_value, row, output), attribution.reference
    if math.isnan(base):
        return f"{sentence}."
    usual = plain_text(scale.level(base))
    if reference is None:
        return f"{sentence}, against a base value of {usual}."
    whom = (
        f"the {reference.cases:,} reference {plain_text(subjects, 40)}"
        if reference.cases != 1
        else "the one reference case"
    )
    return f"{sentence}, against {usual} for {whom}."


def _contributions(named: Sequence[Part], schema: Schema, case: np.ndarray | None, scale: Scale) -> str:
    clauses = []
    for place, part in enumerate(named):
        verb = "raises" if part.value > 0 else "lowers"
        what = f"the model's {scale.noun}" if place == 0 else "it"
        size = plain_text(scale.amount(part.value) if place == 0 else scale.size(part.value))
        clauses.append(f"{_mention(schema, part.names[0], case)} {verb} {what} by {size}")
    return "; ".join(clauses) + "."


def _mention(schema: Schema, name: str, case: np.ndarray | None) -> str:
    """A feature with its value as one says it: ``Respiratory rate 38 /min``, ``asthma = yes``."""
    feature, title = feature_of(schema, name), title_text(schema, name, 60)
    if feature is None or case is None:
        return title
    code = float(case[schema.position(name)])
    if math.isnan(code):
        return f"{title} (missing)"
    return f"{title}{' =' if feature.categorical else ''} {value_text(feature, code, 40)}"


def _caveats(every: Sequence[Part], resolved: Sequence[Part], most: int) -> Iterable[str]:
    named = resolved[:most]
    for first, second in zip(named, resolved[1 : most + 1], strict=False):
        if abs(first.value) - abs(second.value) < RESOLVED_AT * math.hypot(first.error, second.error):
            yield f"{first.label.split(' = ')[0]} and {second.label.split(' = ')[0]} are a near-tie."
    hidden = sum(not part.resolved and abs(part.value) > abs(named[-1].value) for part in every)
    if hidden:
        yield f"{counted(hidden, 'larger contribution')} {'is' if hidden == 1 else 'are'} not yet resolved."


def calibration_sentence(
    count: int,
    positives: int,
    low: float,
    high: float,
    *,
    subjects: str = "test cases",
    outcome: str = "",
    class_name: str = "",
) -> str:
    """``Of 61 test cases given 35–45 %, 24 died.`` Below 20 cases the share is not judged.

    `outcome` is what is said of those who had it (``died``, ``were malignant``); by default the class is named.
    """
    given = f"{fixed(100 * low, 0)}–{percent(high)}"
    if count == 0:
        return f"None of the {plain_text(subjects, 60)} was given {given}: too few cases to judge."
    happened = (
        plain_text(outcome, 60) if outcome else f"had the outcome “{plain_text(class_name or 'yes', 40)}”"
    )
    whom = plain_text(subjects, 60) if count != 1 else plain_text(subjects, 60).removesuffix("s")
    few = " Too few cases to judge." if count < FEW else ""
    return f"Of {count:,} {whom} given {given}, {positives or 'none'} {happened}.{few}"


def importance_sentence(
    importance: Importance, schema: Schema, right: Importance | None = None, *, most: int = 3
) -> str:
    """What the model uses most and, where `right` is given, what its accuracy needs most."""
    first = _leading(importance, schema, most)
    if not first:
        return "No feature is resolved yet: all lie within the error of the estimate."
    said = f"The model uses {first[0]} most" + (f", then {_listed(first[1:])}" if first[1:] else "") + "."
    if _tied(importance):
        said += " The first two are a near-tie."
    if right is None:
        return said
    needed = _leading(right, schema, 1)
    return (
        f"{said} Its accuracy needs {needed[0]} most."
        if needed
        else f"{said} What its accuracy needs is not yet resolved."
    )


def needs_sentence(needs: Importance, schema: Schema) -> str:
    """What the model's accuracy needs most, while it is not known what the model uses."""
    first = _leading(needs, schema, 1)
    return (
        f"The model's accuracy needs {first[0]} most."
        if first
        else "What the model's accuracy needs is not yet resolved."
    )


def scale_sentence(attribution: Attribution, model: Model, wanted: str) -> str:
    """On which scale many cases were explained, where it is not the one that people chose; else nothing."""
    if attribution.space != "raw" or model.space != "probability" or wanted == "raw":
        return ""
    score = "log-odds, the raw score" if len(model.classes) == 2 else "the class's raw score"
    return (
        f"In {score} in which this model's trees add up, so that {counted(len(attribution.values), 'case')} "
        "can be explained exactly; a single case is explained in probability."
    )


def effect_sentence(effect: Effect, feature: str, schema: Schema, unit: str = "") -> str:
    """Where the mean prediction is lowest and highest over the feature's range, and whether it only goes one way."""
    place = effect.names.index(feature)
    grid, mean, scale = effect.grids[place], effect.mean[place], Scale(effect.space, unit)
    known, title = feature_of(schema, feature), title_text(schema, feature, 60)
    error = float(np.nan_to_num(effect.standard_error[place]).max(initial=0.0))
    low, high = int(np.argmin(mean)), int(np.argmax(mean))
    if (
        float(mean[high] - mean[low]) <= RESOLVED_AT * error
        or scale.size(float(mean[high] - mean[low])) == "0"
    ):
        return f"On average the model's {scale.noun} hardly moves with {title}: about {plain_text(scale.level(float(mean.mean())))}."
    at = [
        value_text(known, float(grid[i]), 40) if known is not None else number(float(grid[i]))
        for i in (low, high)
    ]
    levels = [plain_text(scale.level(float(mean[i]))) for i in (low, high)]
    steps = np.diff(mean)
    if known is not None and known.categorical:
        return f"On average the model's {scale.noun} is lowest, {levels[0]}, at {title} = {at[0]} and highest, {levels[1]}, at {at[1]}."
    if (steps >= 0).all():
        return f"On average the model's {scale.noun} rises with {title}: {levels[0]} at {at[0]}, {levels[1]} at {at[1]}."
    if (steps <= 0).all():
        return f"On average the model's {scale.noun} falls with {title}: {levels[1]} at {at[1]}, {levels[0]} at {at[0]}."
    return f"On average the model's {scale.noun} moves with {title} between {levels[0]} (at {at[0]}) and {levels[1]} (at {at[1]})."


def agreement_sentence(
    shap: Attribution,
    lime: Attribution,
    row: int = 0,
    *,
    lime_row: int | None = None,
    most: int = 8,
    output: int = 0,
) -> str:
    """``same sign 8 of 8 · LIME fit R² .64``: among the largest by SHAP that both give a value."""
    place = row if lime_row is None else lime_row
    bare = Schema()
    weights = {part.names[0]: part.value for part in parts(lime, bare, None, place, output)}
    largest = [
        p for p in parts(shap, bare, None, row, output)[:most] if p.value and weights.get(p.names[0], 0.0)
    ]
    same = sum((part.value > 0) == (weights[part.names[0]] > 0) for part in largest)
    said = f"same sign {same} of {len(largest)}" if largest else "no feature in common"
    fit = fit_of(lime, place, output)
    return said if fit is None else f"{said} · LIME fit R² {r_squared(fit)}"


def counterfactual_sentence(
    found: Counterfactuals, schema: Schema, case: int = 0, rank: int = 0, *, unit: str = ""
) -> str:
    """``Respiratory rate 38 → 24 /min: 19 %.``; where nothing was found it says so."""
    if rank >= int(found.found[case]):
        return f"No change within the limits was found that reaches {plain_text(found.wanted, 60)}."
    level = Scale(found.space, unit).level(float(found.output[case, rank]))
    return f"{', '.join(changes(found, schema, case, rank)) or 'no change'}: {plain_text(level)}."


def _leading(importance: Importance, schema: Schema, most: int) -> list[str]:
    """Titles of the largest that are resolved, largest first."""
    groups = (
        importance.groups
        if len(importance.groups) == len(importance.names)
        else [(name,) for name in importance.names]
    )
    largest = np.argsort(-importance.values, kind="stable")[:most]
    sure = [place for place in largest if importance.values[place] > RESOLVED_AT * _error(importance, place)]
    return [group_title(schema, tuple(groups[place])) for place in sure]


def _tied(importance: Importance) -> bool:
    order = np.argsort(-importance.values, kind="stable")[:2]
    if len(order) < 2:
        return False
    gap = float(importance.values[order[0]] - importance.values[order[1]])
    return gap < RESOLVED_AT * math.hypot(*(_error(importance, place) for place in order))


def _error(importance: Importance, place: Any) -> float:
    return (
        0.0 if importance.standard_error is None else float(np.nan_to_num(importance.standard_error[place]))
    )


def _listed(titles: Sequence[str]) -> str:
    return " and ".join([", ".join(titles[:-1]), titles[-1]] if len(titles) > 1 else titles)
