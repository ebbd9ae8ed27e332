"""Runbooks in the browser: what to do about an alert, for staff who have no copy of the sources at hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from monitoring.shipped import RUNBOOKS
from realtime.node import VERSION

_ROOT = Path(__file__).resolve().parent.parent
_OURS = re.compile(rf"{RUNBOOKS}/([a-z0-9-]+)\.md")
_WRAPPED = re.compile(r"(?<=[^\n])\n *(?=[^\s\d#|*-])")  # an end of line within a sentence
_LINK = re.compile(r"\[[^\]]+\]\(([a-z0-9-]+)\.md\)")


class Piece(NamedTuple):
    """A stretch of a runbook; with an address, the name of another one."""

    text: str
    address: str = ""


def address(runbook: str) -> str:
    """Where a browser finds a rule's runbook: at its own address, or here; nothing where neither is."""
    if runbook.startswith(("https://", "http://")):
        return runbook
    ours = _OURS.fullmatch(runbook)
    return reverse("runbook", args=[ours[1]]) if ours and (_ROOT / runbook).is_file() else ""


@require_safe
@never_cache
@staff_member_required
def runbook(request: HttpRequest, name: str) -> HttpResponse:
    """The page of one that is shipped.

    Raises:
        Http404: there is none of that name.
    """
    if not address(path := f"{RUNBOOKS}/{name}.md"):
        raise Http404
    return render(request, "runbook.html", {"name": name, "pieces": _pieces((_ROOT / path).read_text()), "version": VERSION})


def _pieces(text: str) -> list[Piece]:
    """As it is written, but wrapped by the browser, and with the names of other runbooks apart."""
    halves = text.split("```")
    flowing = "```".join(half if index % 2 else _WRAPPED.sub(" ", half) for index, half in enumerate(halves))
    parts = _LINK.split(flowing)
    return [Piece(part, address(f"{RUNBOOKS}/{part}.md") if index % 2 else "") for index, part in enumerate(parts)]
