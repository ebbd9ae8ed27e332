"""Feeds in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

from marketdata import feeds
from marketdata.admin.journal import Journaled
from marketdata.errors import FeedError, StoreUnavailable
from marketdata.feed_status import FeedStatus, feed_statuses
from marketdata.models import Feed
from marketdata.roster import standby_flaw
from marketdata.store import Store
from marketdata.topics import SYMBOL


class FeedForm(forms.ModelForm):  # type: ignore[type-arg]  # Django cannot subscript it
    """A feed; what it would refuse at its start is refused here."""

    class Meta:
        model = Feed
        fields = "__all__"
        help_texts = {"kind": "Which code brings its ticks; docs/feeds.md tells of each."}

    def clean_kind(self) -> str:
        """A kind that there is.

        Raises:
            ValidationError: there is none of that name; the names are told.
        """
        kind: str = self.cleaned_data["kind"]
        try:
            feeds.kinds([kind])
        except FeedError as error:
            raise forms.ValidationError(f"{error}.") from None
        return kind

    def clean_symbols(self) -> list[str]:
        """A list of symbols.

        Raises:
            ValidationError: it is none.
        """
        symbols = self.cleaned_data["symbols"] or []
        if not isinstance(symbols, list) or not all(isinstance(name, str) and SYMBOL.fullmatch(name) for name in symbols):
            raise forms.ValidationError('Give a list of symbols: ["AAPL", "BTC-USDT"].')
        return symbols

    def clean_options(self) -> dict[str, Any]:
        """An object.

        Raises:
            ValidationError: it is none.
        """
        options = self.cleaned_data["options"] or {}
        if not isinstance(options, dict):
            raise forms.ValidationError('Give an object: {"speed": 3}.')
        return options

    def clean(self) -> dict[str, Any] | None:
        """Ask the feed's own kind whether it takes the options, and the roster whether it may stand in for another.

        Raises:
            ValidationError: what the kind says.
        """
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            interval_ms = cleaned["interval_ms"]
            wanted = feeds.FeedSettings(cleaned["symbols"], interval_ms and interval_ms / 1000, cleaned["options"])
            try:
                feeds.make(cleaned["kind"], wanted)
            except FeedError as error:
                self.add_error("options", str(error))
            else:
                self._check_standby(cleaned)
        return cleaned

    def _check_standby(self, cleaned: dict[str, Any]) -> None:
        others = {row.name: row for row in Feed.objects.exclude(pk=self.instance.pk)}
        name, standby_for = cleaned["name"], cleaned["standby_for"]
        behind = [row.name for row in others.values() if row.standby_for == name]
        if flaw := standby_flaw(name, cleaned["kind"], standby_for, others):
            self.add_error("standby_for", f"Refused: {flaw.removeprefix('standby_for: ')}.")
        elif standby_for and behind:
            self.add_error("standby_for", f"{behind[0]!r} stands in for this feed, which can therefore not be a standby itself.")


def _noted() -> dict[str, FeedStatus]:
    """What the feeds noted, by name; nothing while Redis is away."""
    store = Store.from_settings()
    try:
        return {status.name: status for status in feed_statuses(store)}
    except StoreUnavailable:
        return {}
    finally:
        store.close()


@admin.register(Feed)
class FeedAdmin(Journaled):
    """Where ticks come from."""

    form = FeedForm
    list_display = ("name", "kind", "enabled", "state", "standby_for", "interval_ms", "symbols", "options", "updated_at")
    list_editable = ("enabled",)
    list_filter = ("enabled", "kind")
    search_fields = ("name", "kind")
    readonly_fields = ("updated_at",)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list, with what the feeds noted about themselves: one question to Redis for all."""
        changes = super().get_changelist_instance(request)
        noted = _noted()
        for row in changes.result_list:
            row.noted = noted.get(row.name)
        return changes

    @admin.display(description="state")
    def state(self, feed: Feed) -> str:
        """In a few words what it is doing; `admin/feeds/` of the API has all the numbers."""
        noted: FeedStatus | None = getattr(feed, "noted", None)
        if noted is None:
            return "–"
        words = ["well" if noted.healthy else noted.fault or "starting"]
        if not noted.polled:
            words.append(f"writes {noted.active_symbols} of {noted.symbols} symbols")
        counts = ("rejected", "lost", "duplicates", "backwards", "shed")
        words += [f"{count} {name}" for name in counts if (count := getattr(noted, name))]
        return ", ".join([*words, "flooded"] if noted.flooded else words)
