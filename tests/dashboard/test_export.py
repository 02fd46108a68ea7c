"""CSV that a spreadsheet shows and never runs, with every number as it was."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pandas as pd
import pytest

from dashboard.export import cell, csv_text, file_name


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://evil.test")'],
)
def test_formulas_become_text_in_cells_and_headers(text: str) -> None:
    written = csv_text(pd.DataFrame({text: [text, "plain"], "n": [1, 2]}))
    rows = list(csv.reader(io.StringIO(written, newline="")))
    shown = {"\t=1": "\t'=1", "\r=1": "\n=1"}.get(text, text)  # a tab may part cells too
    assert rows[0] == [f"'{shown}", "n"]
    assert rows[1] == [f"'{shown}", "1"]
    assert rows[2] == ["plain", "2"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a;=1", "a;'=1"),
        ("a; @x\t-2", "a;' @x\t'-2"),
        (" =1", "' =1"),
        ("＝1", "'＝1"),
        ("\x00=1\u202e", "␀=1⟨U+202E⟩"),
        ("a-b = c", "a-b = c"),
        ("x" * 10_000, "x" * 10_000),
        ("", ""),
        (-3, -3),
        (None, None),
    ],
)
def test_a_cell(text: object, shown: object) -> None:
    assert cell(text) == shown


def test_a_downloads_name_is_words_of_the_title_and_a_secret() -> None:
    assert re.fullmatch(r"whyboard-etc-passwd-[0-9a-f]{12}\.csv", file_name("../../etc/passwd", "csv"))
    assert re.fullmatch(r"whyboard-[0-9a-f]{12}\.html", file_name("\x00/..", "html"))
    assert len({file_name("a", "csv") for _ in range(20)}) == 20


def test_categories_and_mixed_columns_are_inert_too() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["=a", "b"]), "m": pd.Series(["=x", -3], dtype=object)})
    assert list(csv.reader(io.StringIO(csv_text(frame)))) == [["c", "m"], ["'=a", "'=x"], ["b", "-3"]]


def test_numbers_are_written_to_the_last_digit() -> None:
    values = np.array([-1.5, 1e-300, -0.1, 1 / 3, np.pi, -(2.0**53)])
    rows = list(csv.reader(io.StringIO(csv_text(pd.DataFrame({"v": values, "n": np.arange(6) - 3})))))[1:]
    np.testing.assert_array_equal([float(v) for v, _ in rows], values)
    assert [n for _, n in rows] == ["-3", "-2", "-1", "0", "1", "2"]


def test_the_frame_is_left_as_it_was_and_equal_names_survive() -> None:
    frame = pd.DataFrame([["=a", "=b"]], columns=["x", "x"])
    assert csv_text(frame) == "x,x\n'=a,'=b\n"
    assert frame.iloc[0].tolist() == ["=a", "=b"]


def test_commas_quotes_and_lines_stay_in_their_cell() -> None:
    nasty = 'a,"b"\nc'
    assert list(csv.reader(io.StringIO(csv_text(pd.DataFrame({"t": [nasty]}))))) == [["t"], [nasty]]


@pytest.mark.parametrize("text", ["a\r=1+1", "a\r\n=1+1", "a\n=1+1"])
def test_no_line_inside_a_text_becomes_a_row_of_its_own(text: str) -> None:
    """A bare carriage return outside quotes starts a row in a spreadsheet."""
    written = csv_text(pd.DataFrame({"t": [text], "n": [1]}))
    assert "\r" not in written
    assert list(csv.reader(io.StringIO(written))) == [["t", "n"], ["a\n=1+1", "1"]]
