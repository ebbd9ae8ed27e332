"""Rows of the database as a CSV file: RFC 4180, read page by page, without a cell that a spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from channels.db import database_sync_to_async
from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse

ROWS_AT_ONCE = 2000
FORMULAS = tuple("=+-@\t\r\n＝＋－＠")  # what a cell begins with that a spreadsheet calculates
MEDIA_TYPE = "text/csv"


def cell(value: Any) -> str:
    """A value as the text of a cell; what would be a formula gets an apostrophe in front, which spreadsheets do not show."""
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULAS) else text


def lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as lines of the file."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def download(rows: QuerySet[Any], columns: Mapping[str, str], name: str, *, by: str) -> StreamingHttpResponse:
    """The answer that is the file. However many rows there are, it costs the memory of a page.

    Args:
        rows: what is in it; their order does not matter.
        columns: heading → where it stands, as `values_list` takes it.
        name: of the file, without its ending.
        by: the field that it is ordered by.

    Raises:
        DatabaseError: not even the first page could be read.
    """
    pages = _Pages(rows, columns, by)
    answer = StreamingHttpResponse(pages.read_on(pages.first()), content_type=f"{MEDIA_TYPE}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    answer["Cache-Control"] = "private, no-store"
    return answer


class _Pages:
    """Each page is a query of its own that begins behind the last one: a reader who takes long keeps no transaction open."""

    def __init__(self, rows: QuerySet[Any], columns: Mapping[str, str], by: str) -> None:
        self._headings = list(columns)
        self._by = by
        self._rows = rows.order_by(by, "pk").values_list(*columns.values(), by, "pk")

    def first(self) -> list[tuple[Any, ...]]:
        return list(self._rows[:ROWS_AT_ONCE])

    def _after(self, by: Any, pk: Any) -> list[tuple[Any, ...]]:
        behind = Q(**{f"{self._by}__gt": by}) | Q(**{self._by: by, "pk__gt": pk})
        return list(self._rows.filter(behind)[:ROWS_AT_ONCE])

    async def read_on(self, page: list[tuple[Any, ...]]) -> AsyncIterator[bytes]:
        yield lines([self._headings])
        while page:
            yield lines(row[:-2] for row in page)
            page = await database_sync_to_async(self._after)(*page[-1][-2:]) if len(page) == ROWS_AT_ONCE else []
