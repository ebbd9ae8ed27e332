"""Runbooks in the browser: what to do about an alert, for staff who have no copy of the sources at hand."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element

from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from markdown import Markdown, markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

from monitoring.shipped import RUNBOOKS
from realtime.node import VERSION

_ROOT = Path(__file__).resolve().parent.parent
_OURS = re.compile(rf"{RUNBOOKS}/([a-z0-9-]+)\.md")
_BESIDE = re.compile(r"([a-z0-9-]+)\.md")


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
    text = markdown((_ROOT / path).read_text(), extensions=["fenced_code", "tables", _Links()])
    return render(request, "runbook.html", {"name": name, "text": mark_safe(text), "version": VERSION})  # noqa: S308 -- ours


class _Links(Extension):
    """Links to other runbooks lead to their pages; those to documents that no page shows are plain text."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Called by the library."""
        md.treeprocessors.register(_Leads(md), "leads", 0)


class _Leads(Treeprocessor):
    def run(self, root: Element) -> None:
        """Called by the library."""
        for link in root.iter("a"):
            named = link.attrib.pop("href")
            beside = _BESIDE.fullmatch(named)
            found = address(f"{RUNBOOKS}/{beside[1]}.md") if beside else address(named)
            if found:
                link.set("href", found)
