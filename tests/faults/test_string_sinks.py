"""No way around the helpers: what Streamlit reads as markdown, and what the log writes, read from the syntax trees."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    p for p in sorted(ROOT.glob("dashboard/**/*.py")) if "streamlit as st" in p.read_text(encoding="utf-8")
]
SOURCES = sorted([*ROOT.glob("dashboard/**/*.py"), *ROOT.glob("explainers/**/*.py")])

#: Streamlit's elements whose texts are markdown: every argument by position and these by name, and nothing else.
ELEMENTS = frozenset(
    [
        "title",
        "header",
        "subheader",
        "markdown",
        "caption",
        "error",
        "warning",
        "info",
        "success",
        "toast",
        "write",
        "button",
        "download_button",
        "link_button",
        "checkbox",
        "toggle",
        "radio",
        "selectbox",
        "multiselect",
        "slider",
        "select_slider",
        "text_input",
        "text_area",
        "number_input",
        "file_uploader",
        "expander",
        "popover",
        "tabs",
        "metric",
        "progress",
        "spinner",
        "status",
        "badge",
        "popover",
        "dialog",
    ]
)
TEXTS = ("label", "body", "text", "help", "caption", "captions", "icon", "value", "delta")
BY_POSITION = 1  # the text is the first argument of each; further ones are options, values and keys

#: Figures that are no text, and nothing else.
FIGURES = ("len", "round", "int", "float")

#: What the rules below cannot see to be harmless, as it is written, with the reason.
EXEMPT = {
    "' × '.join(map(str, data.schema.shape))": "whole numbers",
    "', '.join(offered)": "names of formats, from a list of ours",
    "'  \\n'.join((literal(note) for note in notes))": "each note through `literal`",
}


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file, which nobody changes."""
    return ast.parse(path.read_text(encoding="utf-8"))


def inert(node: ast.expr, scope: ast.AST) -> bool:
    """Whether a text is a constant, passed through `literal`, a figure, or put together of such."""
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.JoinedStr):
        return all(inert(part, scope) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return inert(node.value, scope) or _numeric(node.format_spec)
    if isinstance(node, ast.BinOp):
        return inert(node.left, scope) and inert(node.right, scope)
    if isinstance(node, ast.IfExp):
        return inert(node.body, scope) and inert(node.orelse, scope)
    if isinstance(node, ast.BoolOp):
        return all(inert(part, scope) for part in node.values)
    if isinstance(node, ast.GeneratorExp):
        return inert(node.elt, scope)
    if isinstance(node, ast.Call):
        return _called(node, scope)
    return (isinstance(node, ast.Name) and _named(node.id, scope)) or ast.unparse(node) in EXEMPT


def _called(node: ast.Call, scope: ast.AST) -> bool:
    name = ast.unparse(node.func)
    if name == "literal" or name in FIGURES:
        return True
    if isinstance(node.func, ast.Attribute) and node.func.attr == "join" and inert(node.func.value, scope):
        return all(inert(part, scope) for part in node.args) or ast.unparse(node) in EXEMPT
    for found in ast.walk(MODULE_OF[scope]):
        if isinstance(found, ast.FunctionDef) and found.name == name:
            answers = [n.value for n in ast.walk(found) if isinstance(n, ast.Return) and n.value is not None]
            return bool(answers) and all(inert(answer, found) for answer in answers)
    return False


def _named(name: str, scope: ast.AST) -> bool:
    """Every value that the name is given, in its function or else in its module, is inert."""
    for place in (scope, MODULE_OF[scope]):
        given = [
            node.value
            for node in ast.walk(place)
            if isinstance(node, (ast.Assign, ast.AnnAssign))
            and node.value is not None
            and name in map(ast.unparse, node.targets if isinstance(node, ast.Assign) else [node.target])
        ]
        if given:
            return all(inert(value, scope) for value in given)
    return False


def _numeric(spec: ast.expr | None) -> bool:
    return spec is not None and ast.unparse(spec).strip("f'\"") in (",", ".0", ".1", ".2", ",.0")


MODULE_OF: dict[ast.AST, ast.Module] = {}


def texts_of(path: Path) -> list[tuple[int, ast.expr, ast.AST]]:
    """Every text given to Streamlit's markdown, with its line and the function that it stands in."""
    module = parsed(path)
    MODULE_OF[module] = module
    found = []
    functions: list[ast.AST] = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    for scope in [*functions, module]:
        MODULE_OF[scope] = module
        inside = {id(node) for other in functions if scope is module for node in ast.walk(other)}
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and id(node) not in inside and _element(node):
                given = [*node.args[:BY_POSITION], *(k.value for k in node.keywords if k.arg in TEXTS)]
                found += [(node.lineno, text, scope) for text in given]
    return found


def _element(node: ast.Call) -> bool:
    func = node.func
    return isinstance(func, ast.Attribute) and ast.unparse(func.value) == "st" and func.attr in ELEMENTS


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_streamlit_reads_as_markdown_went_through_literal(path: Path) -> None:
    for line, text, scope in texts_of(path):
        if isinstance(text, ast.Constant) or ast.unparse(text) == "label":  # `_choose` is given constants
            continue
        assert inert(text, scope), (
            f"{path.name}:{line}: {ast.unparse(text)} reaches markdown without `literal`"
        )


def test_the_check_finds_what_it_looks_for(tmp_path: Path) -> None:
    source = "import streamlit as st\ndef draw(name):\n    st.error(f'no {name}')\n    st.error(literal(name))\n    st.slider('a', help=name)\n"
    path = tmp_path / "page.py"
    path.write_text(source, encoding="utf-8")
    found = [(line, inert(text, scope)) for line, text, scope in texts_of(path)]
    assert found == [(3, False), (4, True), (5, True), (5, False)]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_html_is_written_from_constants_only(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            assert all(k.arg != "unsafe_allow_html" for k in node.keywords), f"{path.name}:{node.lineno}"
            if ast.unparse(node.func) in ("st.html", "components.html"):
                assert isinstance(node.args[0], (ast.Constant, ast.Name)), f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_message_of_a_log_line_is_a_constant(path: Path) -> None:
    """Names are arguments: a message with a name in it would be read for its own % signs."""
    for node in ast.walk(parsed(path)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        written = node.func.attr in ("debug", "info", "warning", "error", "exception", "critical")
        if written and ast.unparse(node.func.value) in ("log", "_log", "logger", "logging"):
            assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}"
