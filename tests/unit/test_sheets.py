"""CSV that any program reads, and no spreadsheet calculates with."""

from __future__ import annotations

import csv
import io
from datetime import date

import pytest

from realtime.sheets import cell, lines


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", "=cmd|' /C calc'!A0"])
def test_what_would_be_a_formula_is_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    ("value", "text"),
    [("ada", "ada"), ("a=b", "a=b"), ("", ""), (None, ""), (12, "12"), (-3, "-3"), (date(2026, 11, 28), "2026-11-28")],
)
def test_everything_else_is_as_it_is(value: object, text: str) -> None:
    assert cell(value) == text


def test_lines_end_as_rfc_4180_says_and_are_read_back() -> None:
    rows = [["a,b", 'say "hi"', "two\nlines"], ["é", "", "x"]]
    found = lines(rows).decode()
    assert found.startswith('"a,b","say ""hi""","two\nlines"\r\n')
    assert list(csv.reader(io.StringIO(found, newline=""))) == rows
