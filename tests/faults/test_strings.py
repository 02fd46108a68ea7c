"""Twelve groups of hostile strings in the twelve places that a name can reach: each is shown there, and does nothing."""

from __future__ import annotations

import csv
import html
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import parse_qs, urlencode

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from markdown_it import MarkdownIt

from dashboard import markdown, words
from dashboard.export import cell, csv_text, file_name, takeaway
from dashboard.figures.counterfactual import suggestion_table
from dashboard.figures.frame import figure_dict
from dashboard.figures.numbers import Scale
from dashboard.figures.performance import residuals, score_histogram
from dashboard.figures.plain import plain_text, visible
from dashboard.figures.reasons import reasons
from dashboard.figures.text import WHOLE, safe_text
from dashboard.footers import footer, reproduction_line
from dashboard.linked.payload import shown, validate
from dashboard.standalone import standalone
from explainers import Attribution, Counterfactuals, Feature, Reference, Schema, SchemaMismatch
from tests.dashboard.test_figures import attribution, every_figure
from tests.faults.strings import EVERY, HOSTILE

GROUPS = sorted(HOSTILE)
ISOLATES = "\u2068\u2069"


# ---- what the places have in common -----------------------------------------------------------------------------------


def seen(text: str) -> None:
    """One line in which every character can be seen, or is needed to see the others."""
    assert visible(text) == text
    assert not set(text) & set("\n\r\t\x00\x1b\u202e\u2066\u2067\u200b\ufeff\u2028")
    assert text.count("\u2068") == text.count("\u2069")
    text.encode("utf-8")


def recognised(text: str, name: str, most: int) -> None:
    """The text shows the beginning of the name."""
    start = plain_text(name, most).strip(ISOLATES).rstrip("…")
    assert start
    assert start in text, (text[:200], start)


# ---- in Plotly's figures ----------------------------------------------------------------------------------------------


@cache
def drawn(group: str) -> tuple[dict[str, Any], ...]:
    """Every figure with the group's strings as names, labels, units, categories and classes."""
    variants = HOSTILE[group]
    numeric = Schema(tuple(Feature(f"{name}{i}", label=name, unit=name) for i, name in enumerate(variants)))
    chosen = Schema(
        tuple(
            Feature(f"{name}{i}", "category", categories=(name, f"{name}!"))
            for i, name in enumerate(variants)
        )
    )
    made = [*every_figure(numeric).values(), *every_figure(chosen).values()]
    some = np.linspace(0, 1, 9)
    made.append(reasons(attribution([0.1], ("a",), space="target"), None, Schema(), None, unit=variants[0]))
    made.append(residuals(some, some[::-1], unit=variants[-1]))
    made += [
        score_histogram(some, np.arange(9) % 2, 0.4, space="target", unit=name, names=(name, f"{name}?"))
        for name in variants
    ]
    return tuple(figure_dict(figure) for figure in made)


def texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every string that Plotly reads, with the property it stands under; `customdata` only comes back in events."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for inner, part in value.items():
            if inner not in ("customdata", "bdata"):
                yield from texts(part, f"{name}.{inner}")
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from texts(part, name)


OUR_PLACES = re.compile(
    r"%\{(text|x:\+\.3~g|x:\.4~g|y:\+\.3~g|y|y:\.0f|x:\.0f|customdata|customdata:\.3~g)\}"
)


def inert_in_plotly(text: str) -> None:
    """No tag, no formula, no place of a template but our own."""
    ours = OUR_PLACES.sub("", text.replace("<br>", "").replace("<extra></extra>", ""))
    assert "<" not in ours, text
    assert "$" not in ours, text
    assert "{" not in ours, text
    assert len(text) < 1000
    seen(html.unescape(text))


def in_figures(group: str, wanted: Callable[[str], bool], most: int) -> None:
    found = [text for figure in drawn(group) for name, text in texts(figure) if wanted(name)]
    for text in found:
        inert_in_plotly(text)
    together = "\n".join(html.unescape(text) for text in found)
    for name in HOSTILE[group]:
        recognised(together, name, most)


def hover(group: str) -> None:
    in_figures(group, lambda name: "hover" in name or name.endswith(".text"), 12)


def axis(group: str) -> None:
    in_figures(group, lambda name: "axis" in name, 12)


# ---- in what the linked component shows as text -----------------------------------------------------------------------


def sent(block: dict[str, Any]) -> dict[str, Any]:
    """The block as it is handed to the browser."""
    payload = {"blocks": [{"column": 0, **block}]}
    validate(payload)
    return dict(shown(payload)["blocks"][0])


def table(group: str) -> None:
    """Cells and headers, as they come and as our own tables make them."""
    for name in HOSTILE[group]:
        columns = [{"id": "a", "label": name}]
        block = sent(
            {
                "id": "t",
                "kind": "table",
                "columns": columns,
                "rows": [{"id": name, "cells": [{"text": name}]}],
            }
        )
        for text in (block["columns"][0]["label"], block["rows"][0]["cells"][0]["text"]):
            seen(text)
            recognised(" ".join(text.split()), name, 40)
            assert len(text) <= 10 * 2000
        assert block["rows"][0]["id"] == name  # it comes back in events, and is never shown
    variants = HOSTILE[group]
    features = tuple(Feature(f"{name}{i}", label=name, unit=name) for i, name in enumerate(variants))
    zeros = np.zeros((1, len(variants)))
    found = Counterfactuals(
        names=tuple(feature.name for feature in features), original=zeros, changed=zeros[None] + 1.0, distance=np.ones((1, 1)), targets=("yes",),
        output=np.ones((1, 1)), before=np.zeros(1), found=np.ones(1, dtype=np.int64), wanted=variants[0], space="probability",
    )  # fmt: skip
    made = suggestion_table(found, Schema(features))
    for row, name in zip(made["rows"][1:], variants, strict=True):
        first = row["cells"][0]
        assert first["text"] == plain_text(name, 40)
        assert first.get("whole", first["text"]) == plain_text(name, WHOLE)
        assert len(row["cells"][1]["text"]) < 40


def metric(group: str) -> None:
    """The big number with its unit, and the sentence beneath it."""
    for name in HOSTILE[group]:
        text = words.prediction_text(41.0, "target", name)
        seen(text)
        assert text == f"41 {plain_text(name, 32)}"
        big = sent({"id": "t", "kind": "text", "items": [{"style": "big", "text": f"41 {name}"}]})["items"][
            0
        ]["text"]
        seen(big)
        schema = Schema((Feature(name, label=name, unit=name),))
        some = Attribution(
            names=(name,), values=np.array([[1.0]]), base_value=np.zeros(1), output=np.ones(1), space="target",
            targets=("yes",), reference=Reference(100, "train", "target", note=name),
        )  # fmt: skip
        said = words.why_sentence(
            some, schema, np.array([1.0]), subject=name, subjects=name, class_name=name, unit=name
        )
        seen(said)
        recognised(said, name, 40)
        assert len(said) < 700
        seen(footer(some))


def tooltip(group: str) -> None:
    """Under the pointer stands the whole of a name that was cut, and no more of it than can be read."""
    for name in HOSTILE[group]:
        slider = {
            "id": name,
            "kind": "slider",
            "label": plain_text(name, 60),
            "whole": plain_text(name, WHOLE),
        }
        block = sent(
            {
                "id": "c",
                "kind": "controls",
                "controls": [slider | {"value": 0, "min": 0, "max": 1, "step": 1}],
            }
        )
        control = block["controls"][0]
        assert control["id"] == name
        seen(control["whole"])
        recognised(control["whole"], name, WHOLE)
        assert len(control["whole"].replace("\u2068", "").replace("\u2069", "")) <= WHOLE


# ---- in Streamlit's markdown ------------------------------------------------------------------------------------------

ACTIVE = re.compile(r"[\\`*_{}\[\]()<>#+\-.!|~$:&^@=]")
ESCAPE = re.compile(r"\\[!-/:-@\[-`{-~]")

#: What Streamlit's page looks for in texts that the parser has finished with, as it stands in its scripts.
REWRITES = (
    r"(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)",
    r"(?:^|(?<=[\s\W_]))([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)",
    r":material_(\w+):",
    r":streamlit:",
    r":[\w+-][\w_+-]*:",
    r"(^|\s)(<->|->|<-|--|>=|<=|~=)(\s|$)",
)


def commonmark(source: str) -> str:
    """The text that a parser finds in one paragraph of nothing but text."""
    blocks = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    assert [block.type for block in blocks] == ["paragraph_open", "inline", "paragraph_close"], source
    kinds = {child.type for child in blocks[1].children or []}
    assert kinds == {"text"}, (source, kinds)
    return "".join(child.content for child in blocks[1].children or [])


def in_markdown(text: object, most: int = 600) -> None:
    source = markdown.literal(text, most)
    assert not ACTIVE.search(ESCAPE.sub("", source)), source
    found = commonmark(source)
    assert found.replace(markdown.JOINER, "") == plain_text(text, most)
    for pattern in REWRITES:
        assert not re.search(pattern, found, re.IGNORECASE), (pattern, found)
    seen(found.replace(markdown.JOINER, ""))
    assert ":material/" not in source  # Streamlit replaces this before it parses


def prose(group: str) -> None:
    """Title, summary and note; a name inside a label, in bold and in a directive of ours."""
    for name in HOSTILE[group]:
        in_markdown(name)
        in_markdown(name, 60)
        in_markdown(f"{name} and {name}")
        bold = MarkdownIt("commonmark").parseInline(f"**{markdown.literal(name)}**  \nrest")[0].children or []
        assert [child.type for child in bold] == [
            "strong_open",
            "text",
            "strong_close",
            "hardbreak",
            "text",
        ] or [child.type for child in bold] == [
            "text",
            "strong_open",
            "text",
            "strong_close",
            "text",
            "hardbreak",
            "text",
        ]


def error(group: str) -> None:
    """A message that names what a file called something: in the page's markdown and in a panel's place."""
    for name in HOSTILE[group]:
        message = str(SchemaMismatch(f"There is no feature {name!r}; there are {name}."))
        in_markdown(message)
        refused = sent({"id": "e", "kind": "text", "items": [{"style": "warning", "text": message}]})
        seen(refused["items"][0]["text"])
        with pytest.raises(SchemaMismatch) as raised:
            Schema((Feature("age"),)).feature(name)
        in_markdown(raised.value)


# ---- in files and lines ----------------------------------------------------------------------------------------------

RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def download(group: str) -> None:
    for name in HOSTILE[group]:
        made = file_name(name, "html")
        assert re.fullmatch(r"whyboard(-[^\W_]+)*-[0-9a-f]{12}\.html", made), made
        assert PurePosixPath(made).name == PureWindowsPath(made).name == made
        assert not RESERVED.match(made)
        assert len(made.encode()) < 255
        assert file_name(name, "html") != made


def spreadsheet(group: str) -> None:
    names = [name for name in HOSTILE[group] if "\ud800" not in name]  # pandas itself takes no lone surrogate
    frame = pd.DataFrame({name: [name, f"a {name}"] for name in names} | {"n": [-1.5, 2.0]})
    written = csv_text(frame)
    rows = list(csv.reader(io.StringIO(written, newline="")))
    assert len(rows) == 3
    assert {len(row) for row in rows} == {len(names) + 1}
    assert [row[-1] for row in rows] == ["n", "-1.5", "2.0"]  # a negative number is no formula
    for at, name in enumerate(names):
        head, first, second = (row[at] for row in rows)
        assert head == first == cell(name)
        assert second == cell(f"a {name}")
        for text in (head, first, second):
            for separator in ("", ";", "\t"):  # as a spreadsheet reads it where a comma does not part cells
                for part in text.split(separator) if separator else [text]:
                    assert not part.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")), text
            assert not text.startswith(("\t", "\r", "\n"))
            assert not set(text) & set("\x00\x1b\u202e\u2067\u200b\ufeff\r")
        assert visible(head).replace("'", "").split() == visible(name).replace("'", "").split()
    assert "\ufffd" in cell("=\ud800")
    written.encode("utf-8")


class Tags(HTMLParser):
    """What a browser makes of a page: its elements, their attributes, and the text between them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@cache
def library() -> str:
    """Plotly's own script, which is 5 MB and stands in every page as it is."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def report(group: str) -> None:
    """The page has our elements and no others, and the figure's strings come out as they went in."""
    figure = go.Figure(layout={"title": {"text": safe_text(HOSTILE[group][0])}, "meta": list(HOSTILE[group])})
    parts: list[str | go.Figure] = [*HOSTILE[group], figure]
    page = standalone(HOSTILE[group][0], parts)
    assert page.count(library()) == 1
    tags = Tags()
    tags.feed(page.replace(library(), "/**/"))
    tags.close()
    assert tags.found == [
        ("html", ("lang",)), ("head", ()), ("meta", ("charset",)), ("meta", ("http-equiv", "content")), ("title", ()),
        ("style", ()), ("body", ()), ("h1", ()), *[("p", ())] * len(HOSTILE[group]), ("script", ("type",)),
        ("script", ()), ("script", ()),
    ]  # fmt: skip
    for name in HOSTILE[group]:
        recognised("\n".join(tags.texts), name, 4000)
    data = next(text for text in tags.texts if text.startswith('{"data"'))
    assert "<" not in data
    assert json.loads(data)["layout"]["meta"] == list(HOSTILE[group])
    assert "default-src 'none'" in page
    assert "'unsafe-inline'" not in page.split("style-src")[0]


def log(group: str) -> None:
    """One line of printable ASCII in quotes, given as an argument: no second line, nothing for a terminal."""
    stream = io.StringIO()
    logger = logging.Logger("strings")
    logger.addHandler(logging.StreamHandler(stream))
    for name in HOSTILE[group]:
        logger.error("opened %s", words.log_text(name))
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(HOSTILE[group])
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        assert line.startswith(("opened '", 'opened "'))
        assert len(line) < 2500


def url(group: str) -> None:
    """An address that asks for a workspace of that name: it comes back in a message, and the message is text."""
    for name in HOSTILE[group]:
        asked = parse_qs(urlencode({"w": name}, errors="replace"), keep_blank_values=True)["w"][0]
        in_markdown(f"There is no workspace {asked!r} here; there are credit.")
        address = urlencode({"w": name}, errors="replace")
        assert re.fullmatch(r"w=[A-Za-z0-9%+._~-]*", address)


PLACES: dict[str, Callable[[str], None]] = {
    "hover": hover,
    "axis": axis,
    "table": table,
    "markdown": prose,
    "metric": metric,
    "download name": download,
    "CSV": spreadsheet,
    "HTML report": report,
    "log": log,
    "error": error,
    "URL": url,
    "tooltip": tooltip,
}


#: Places that draw all figures, or write a page with Plotly in it: of these the first tier takes one group.
HEAVY = {"hover", "axis", "HTML report"}
CASES = [
    pytest.param(group, place, marks=[pytest.mark.slow] if place in HEAVY and group != "template" else [])
    for group in GROUPS
    for place in sorted(PLACES)
]


@pytest.mark.parametrize(("group", "place"), CASES)
def test_the_string_is_text_in_its_place(group: str, place: str) -> None:
    PLACES[place](group)


def test_there_are_144_cases() -> None:
    assert len(CASES) == len(GROUPS) * len(PLACES) == 144
    assert len(set(EVERY)) == len(EVERY) >= 50


def test_the_footer_says_when_a_formula_was_put_in_quotes() -> None:
    def result(name: str) -> Attribution:
        return attribution([0.1], names=(name,))

    assert "apostrophe" in takeaway(result("=1+1"))["footer"]
    assert "apostrophe" not in takeaway(result("age"))["footer"]
    assert takeaway(result("age"))["code"] == reproduction_line(result("age"))


def test_a_unit_that_is_a_template_stays_a_unit() -> None:
    """Plotly fills in %{…} of a template, wherever in it that stands."""
    assert safe_text("%{customdata}") == "%&#123;customdata}"
    assert Scale("target", "%{x}").axis == "%{x}"
