"""The operator's pages under `/monitor/`: one page, a tab an address."""

from __future__ import annotations

from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from monitoring.runbooks import runbook
from realtime.node import VERSION
from realtime.rights import DISCONNECT

TABS = ("overview", "connections", "topics", "feeds", "alerts")


@require_safe
@never_cache
@staff_member_required
def monitor(request: HttpRequest, tab: str) -> HttpResponse:
    """The page; who is not staff is sent to the admin's login and comes back from there."""
    may_disconnect = request.user.has_perm(DISCONNECT)
    return render(request, "monitor.html", {"tab": tab, "version": VERSION, "may_disconnect": may_disconnect})


urlpatterns = [
    path("" if tab == "overview" else f"{tab}/", monitor, {"tab": tab}, name="monitor" if tab == "overview" else f"monitor-{tab}")
    for tab in TABS
]
urlpatterns.append(path("runbooks/<slug:name>/", runbook, name="runbook"))
