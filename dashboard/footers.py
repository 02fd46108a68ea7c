"""What stands under every panel: how a result was made, and the line of Python that makes it again."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from dashboard.figures.numbers import counted, fixed
from dashboard.figures.text import plain_text
from explainers import EXPLAINERS, Contrast, Explanation, Reference, settings_of

_SPACES = {"probability": "probability scale", "raw": "raw score", "target": "target units"}


def reproduction_line(result: Explanation, which: str | None = None) -> str:
    """One line of Python that repeats the call; settings left at their default are left out.

    Cases that are not rows of the data stand as ``cases``, chosen reference cases as ``background``. `which` is an
    expression for the rows, where there is a shorter one than their numbers.
    """
    facts = result.provenance
    if not facts.get("explainer"):
        return ""
    arguments = ["model", "data", f"ex.{short_call(str(facts['explainer']))}"]
    rows = facts.get("rows")
    if rows is not None:
        arguments.append("rows=cases" if isinstance(rows, str) else f"rows={which or _rows(list(rows))}")
    if facts.get("target") is not None:
        contrast = "ex." if isinstance(facts["target"], Contrast) else ""
        arguments.append(f"target={contrast}{facts['target']!r}")
    if facts.get("background") is not None:
        arguments.append("background=background")
    return f"ex.explain({', '.join(arguments)})"


def short_call(call: str) -> str:
    """An explainer as written down, without the settings that are at their default."""
    try:
        tree = ast.parse(call, mode="eval").body
    except (SyntaxError, ValueError):
        return plain_text(call)
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        return plain_text(call)
    defaults = {
        s.name: repr(s.default)
        for kind in EXPLAINERS
        if kind.__name__ == tree.func.id
        for s in settings_of(kind)
    }
    chosen = [
        ast.unparse(k) for k in tree.keywords if k.arg is None or ast.unparse(k.value) != defaults.get(k.arg)
    ]
    return f"{tree.func.id}({', '.join(chosen)})"


def footer(result: Explanation) -> str:
    """Scale · reference · method and settings · exact or estimated · seed · seconds: whatever of it is known."""
    known, facts = result.diagnostics, result.provenance
    said = [_SPACES.get(str(getattr(result, "space", "")), ""), _compared(getattr(result, "reference", None))]
    said.append(plain_text(short_call(str(facts["explainer"])), 160) if facts.get("explainer") else "")
    if isinstance(known.get("cases"), int):
        said.append(counted(known["cases"], "case"))
    said.append(_certainty(known))
    if known.get("seed") is not None and not known.get("exact"):
        said.append(f"seed {known['seed']}")
    if known.get("seconds") is not None:
        said.append(_seconds(float(known["seconds"])))
    return " · ".join(part for part in said if part)


def _compared(reference: Reference | None) -> str:
    if reference is None:
        return ""
    role = {"train": "training ", "test": "test ", "calibrate": "calibration "}.get(reference.role, "")
    note = f" ({plain_text(reference.note, 60)})" if reference.note else ""
    return f"compared with {counted(reference.cases, f'{role}case')}{note}"


def _certainty(known: Mapping[str, Any]) -> str:
    if known.get("so_far"):
        so_far = plain_text(str(known["so_far"]), 60)
        return (
            f"stopped after {so_far}"
            if known.get("stopped")
            else f"first answer from {so_far}; still computing"
        )
    if known.get("exact") is None:
        return ""
    if known["exact"]:
        return "exact"
    asked = known.get("evaluations")
    return f"estimated from {counted(int(asked), 'model evaluation')}" if asked else "estimated"


def _seconds(seconds: float) -> str:
    return "under 0.1 s" if seconds < 0.05 else f"{fixed(seconds, 1 if seconds < 10 else 0)} s"


def _rows(rows: list[int]) -> str:
    """A long run of neighbours as a range; else every row, for the line must repeat the call."""
    if len(rows) > 3 and rows == list(range(rows[0], rows[0] + len(rows))):
        return f"range({rows[0]}, {rows[-1] + 1})"
    return repr(rows)
