"""Live connections of all nodes in the admin: found, ended, shut out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from marketdata.admin.journal import ReadOnly
from marketdata.errors import StoreUnavailable
from realtime.census import MOST_ROWS, Live
from realtime.dismissals import ban_address, ban_user, disconnect, find, name_of
from realtime.guesses import network
from realtime.models import LiveConnection
from realtime.orders import Connections, orders

SLOW = [("", "slow or not"), ("true", "slow"), ("false", "not slow")]
HEADS = (
    "connection", "user", "key", "plan", "address", "node", "topics", "queued", "slow for", "conflated", "gaps", "opened (UTC)",
    "client",
)  # fmt: skip
SPANS = [("3600", "for an hour"), ("86400", "for a day"), ("604800", "for a week"), ("", "for good")]


class Search(forms.Form):
    """Which connections are wanted."""

    search = forms.CharField(required=False, label="Any of these", max_length=100)
    user = forms.CharField(required=False, max_length=150)
    address = forms.CharField(required=False, max_length=50, help_text="or a network")
    plan = forms.CharField(required=False, max_length=32)
    node = forms.CharField(required=False, max_length=100)
    slow = forms.ChoiceField(required=False, choices=SLOW)

    def wanted(self) -> dict[str, Any]:
        """As `census.Wanted` has it."""
        given: dict[str, Any] = {name: value for name, value in self.cleaned_data.items() if value}
        if slow := given.pop("slow", ""):
            given["slow"] = slow == "true"
        return given


class Dismissal(forms.Form):
    """What shall become of the connections that were chosen."""

    action = forms.ChoiceField(
        choices=[("disconnect", "Disconnect"), ("ban_user", "Ban their users"), ("ban_address", "Ban their addresses")]
    )
    span = forms.TypedChoiceField(choices=SPANS, required=False, coerce=int, empty_value=None, initial=SPANS[0][0])
    reason = forms.CharField(required=False, max_length=200)


class Row(NamedTuple):
    """A connection as the page shows it."""

    live: Live
    name: str
    opened: str


@admin.register(LiveConnection)
class LiveConnectionAdmin(ReadOnly):
    """Connections that are open just now, on any node."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        """The connections that are wanted; or do something to those that were chosen.

        Raises:
            PermissionDenied: who asks may not.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self._act(request) if request.method == "POST" else self._show(request)

    def get_object(self, *args: Any, **kwargs: Any) -> None:
        """There is no page of one connection, and no table to look for it."""

    def _show(self, request: HttpRequest) -> HttpResponse:
        search = Search(request.GET)
        found, fault = _found(search) if search.is_valid() else (None, "")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Live connections",
            "search": search,
            "dismissal": Dismissal(),
            "found": found,
            "fault": fault,
            "rows": [_row(live) for live in found.rows] if found else [],
            "heads": HEADS,
            "may_disconnect": request.user.has_perm("realtime.disconnect"),
            "may_ban": request.user.has_perm("realtime.add_ban"),
        }
        answer = TemplateResponse(
            request, "admin/realtime/liveconnection/change_list.html", context, status=503 if fault else 200
        )
        answer["Cache-Control"] = "no-store"
        return answer

    def _act(self, request: HttpRequest) -> HttpResponse:
        asked = Dismissal(request.POST)
        if not asked.is_valid():
            messages.error(request, "Choose what to do.")
        else:
            wanted = asked.cleaned_data["action"]
            if not request.user.has_perm("realtime.disconnect" if wanted == "disconnect" else "realtime.add_ban"):
                raise PermissionDenied
            try:
                self._dismiss(request, asked.cleaned_data)
            except StoreUnavailable:
                messages.error(request, "Redis does not answer: nobody can say who is connected.")
        return HttpResponseRedirect(request.get_full_path())

    def _dismiss(self, request: HttpRequest, asked: dict[str, Any]) -> None:
        sessions = request.POST.getlist("session")[:MOST_ROWS]
        if not sessions:
            messages.warning(request, "No connection was chosen, so nothing was done. Tick those that are meant.")
            return
        chosen = _chosen(request, sessions)
        done = len(chosen)
        if asked["action"] == "disconnect":
            done = sum(disconnect(live) for live in chosen)
            messages.success(request, f"{done} disconnected; they may come again.")
        else:
            shut_out = _ban_users if asked["action"] == "ban_user" else _ban_addresses
            shut_out(request, chosen, asked["span"], asked["reason"])
        if gone := len(sessions) - done:
            messages.info(request, f"{gone} had gone already.")


def _chosen(request: HttpRequest, sessions: list[str]) -> list[Live]:
    """Those that are still there: asked for once, as the page did, and one by one only where newer ones pushed them off it."""
    search = Search(request.GET)
    shown = {live.session: live for live in orders().connections(**search.wanted()).rows} if search.is_valid() else {}
    found = (shown.get(session) or find(session) for session in sessions)
    return [live for live in found if live is not None]


def _found(search: Search) -> tuple[Connections | None, str]:
    try:
        return orders().connections(**search.wanted()), ""
    except StoreUnavailable:
        return None, "Redis does not answer, so nobody can say who is connected. Those who are stay connected."


def _row(live: Live) -> Row:
    return Row(live, name_of(live.session), f"{datetime.fromtimestamp(live.opened_at / 1e6, UTC):%Y-%m-%d %H:%M:%S}")


def _ban_users(request: HttpRequest, chosen: list[Live], span: int | None, reason: str) -> None:
    names = dict.fromkeys(live.user for live in chosen if live.user)
    if chosen and not names:
        messages.warning(request, "Visitors have no user that could be banned; ban their addresses.")
    _ban_each(request, list(names), request.user.get_username(), lambda name: ban_user(name, span, reason))


def _ban_addresses(request: HttpRequest, chosen: list[Live], span: int | None, reason: str) -> None:
    places = {network(live.address): live.address for live in chosen}
    own = network(request.META.get("REMOTE_ADDR") or "")
    _ban_each(request, list(places), own, lambda place: ban_address(places[place], span, reason))


def _ban_each(request: HttpRequest, whom: list[str], oneself: str, ban: Callable[[str], Any]) -> None:
    """Ban each but who asks: that would be the last thing that this operator did."""
    for name in whom:
        if name == oneself:
            messages.error(request, f"Not banned, for that is you: {name}.")
            continue
        try:
            ban(name)
        except (User.DoesNotExist, ValueError):
            messages.error(request, f"Not banned, for nobody knows that: {name or 'an address that is unknown'}.")
        else:
            messages.success(request, f"Banned: {name}.")
