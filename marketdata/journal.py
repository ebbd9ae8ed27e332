"""The audit log: who did what, with what was before and what is after.

Rules of this file:
1. A row of a watched model is noted whoever saves or deletes it: the admin, REST, a command, the shell. What goes round Django's
   signals is not: operators' bulk changes go through `change_all`, and what the data path writes in bulk stays out.
2. An entry is written in the transaction of what it tells about.
3. No secret gets in: of a hidden field the entry says that it changed.
4. Who acts is looked up when something is noted, and only then: a request that changes nothing pays for one context variable.
5. Entries are never changed, not even when the user whom they name is deleted. Old ones go, where a setting says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Field, ManyToManyField, Model, QuerySet
from django.db.models.signals import m2m_changed, post_save, pre_delete, pre_save
from django.http import HttpRequest

from marketdata import correlation
from marketdata.database import answering
from marketdata.models import JournalEntry

HIDDEN = "••••••"
COMMAND_LINE = "command line"  # who acts where there is no request
VISITOR = "visitor"
MOST_FORGOTTEN = 5000

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)
_verb: ContextVar[str] = ContextVar("verb", default="change")
_watched: dict[type[Model], Watch] = {}


class Watch(NamedTuple):
    """What of a model is noted.

    Attributes:
        hidden: fields of which only that they changed is told.
        ignored: fields that are not looked at; a save of no other field is no change and costs no query.
    """

    hidden: frozenset[str]
    ignored: frozenset[str]


class Actor(NamedTuple):
    """Who acts: a user, as named now, and from where."""

    user_id: int | None
    name: str
    address: str


@contextmanager
def serving(request: HttpRequest) -> Iterator[None]:
    """Whatever is noted meanwhile was done by the user of that request."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


@contextmanager
def doing(verb: str) -> Iterator[None]:
    """Rows that are changed meanwhile are noted under that verb."""
    token = _verb.set(verb)
    try:
        yield
    finally:
        _verb.reset(token)


def actor() -> Actor:
    """Who acts just now."""
    request = _request.get()
    if request is None:
        return Actor(None, COMMAND_LINE, "")
    user, address = getattr(request, "user", None), request.META.get("REMOTE_ADDR") or ""
    if user is None or not user.is_authenticated:
        return Actor(None, VISITOR, address)
    return Actor(user.pk, user.get_username(), address)


def note(
    action: str,
    kind: str,
    name: str,
    *,
    key: object = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write down that something was done just now.

    Args:
        action: a verb: `disconnect`.
        kind: what it was done to: `connection`.
        name: which one, as a person would call it. No secret; a session's name is one, for it can be resumed.
        key: its primary key, if it is a row.
        before, after: what is different; values that JSON knows.
    """
    _entry(actor(), action, kind, name, key, before, after).save(force_insert=True)


@transaction.atomic
def change_all(rows: QuerySet[Any], action: str, **values: Any) -> int:
    """Set fields of many rows, and note it of each that had other values; returns how many those were."""
    every = rows.model._base_manager
    chosen = every.filter(pk__in=list(rows.values_list("pk", flat=True))).select_for_update()
    changed = [row for row in chosen if any(getattr(row, name) != value for name, value in values.items())]
    by, after = actor(), {name: _plain(value) for name, value in values.items()}
    entries = [_of_row(by, action, row, {name: _plain(getattr(row, name)) for name in values}, after) for row in changed]
    every.filter(pk__in=[row.pk for row in changed]).update(**values)
    JournalEntry.objects.bulk_create(entries)
    return len(changed)


def forget(before: datetime, most: int = MOST_FORGOTTEN) -> int:
    """Let go of what was noted before then, the oldest first, no more than `most` at once so that nobody waits for it;
    returns how many entries those were.

    Raises:
        DatabaseUnavailable: it does not answer.
    """
    with answering():
        old = JournalEntry.objects.filter(at__lt=before)
        last = list(old.order_by("pk").values_list("pk", flat=True)[:most])[-1:]
        return old.filter(pk__lte=last[0]).delete()[0] if last else 0


def watch(model: type[Model], *, hidden: Iterable[str] = (), ignored: Iterable[str] = (), relations: Iterable[str] = ()) -> None:
    """Note from now on every row of a model that is added, changed or deleted.

    Args:
        model: which.
        hidden, ignored: as in `Watch`.
        relations: its many-to-many fields that are noted as well.
    """
    _watched[model] = Watch(frozenset(hidden), frozenset(ignored))
    name = f"journal.{model._meta.label}"
    pre_save.connect(_before_save, sender=model, dispatch_uid=name)
    post_save.connect(_after_save, sender=model, dispatch_uid=name)
    pre_delete.connect(_before_delete, sender=model, dispatch_uid=name)
    for relation in relations:
        field = model._meta.get_field(relation)
        assert isinstance(field, ManyToManyField)
        m2m_changed.connect(_on_relation(field), sender=field.remote_field.through, weak=False, dispatch_uid=f"{name}.{relation}")


def watched() -> dict[str, type[Model]]:
    """The models that are watched, by what an entry calls their kind."""
    return {_kind(model): model for model in _watched}


def _before_save(sender: type[Model], instance: Any, raw: bool, update_fields: Iterable[str] | None, **_: Any) -> None:
    fields = _fields(sender, update_fields)
    stored = None
    if fields and not raw and not instance._state.adding:
        stored = sender._base_manager.filter(pk=instance.pk).first()
    instance._journal_before = None if stored is None else _state(stored, fields)


def _after_save(
    sender: type[Model], instance: Any, raw: bool, created: bool, update_fields: Iterable[str] | None, **_: Any
) -> None:
    before = instance.__dict__.pop("_journal_before", None)
    fields = _fields(sender, update_fields)
    if raw or not fields or (before is None and not created):
        return
    _note_row("add" if created else _verb.get(), instance, before, _state(instance, fields))


def _before_delete(sender: type[Model], instance: Model, **_: Any) -> None:
    _note_row("delete", instance, _state(instance, _fields(sender, None)), None)


def _on_relation(field: ManyToManyField[Any, Any]) -> Any:
    def on_change(instance: Any, action: str, reverse: bool, **_: Any) -> None:
        name = field.remote_field.get_accessor_name() if reverse else field.name
        assert name is not None
        related = sorted(str(row) for row in getattr(instance, name).all())
        if action.startswith("pre_"):
            instance._journal_related = related
        elif related != (before := instance.__dict__.pop("_journal_related", related)):
            _of_row(actor(), "change", instance, {name: before}, {name: related}).save(force_insert=True)

    return on_change


def _note_row(action: str, row: Model, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    if before is not None and after is not None:
        different = [name for name in after if before[name] != after[name]]
        before, after = ({name: state[name] for name in different} for state in (before, after))
    if before or after:
        hidden = _watched[type(row)].hidden
        _of_row(actor(), action, row, _masked(before, hidden), _masked(after, hidden)).save(force_insert=True)


def _masked(state: dict[str, Any] | None, hidden: frozenset[str]) -> dict[str, Any] | None:
    return state and {name: HIDDEN if name in hidden and value else value for name, value in state.items()}


def _fields(model: type[Model], only: Iterable[str] | None) -> list[Field[Any, Any]]:
    names = None if only is None else set(only)
    skipped = _watched[model].ignored
    fields: list[Field[Any, Any]] = [field for field in model._meta.concrete_fields if not field.primary_key]
    return [field for field in fields if field.name not in skipped and (names is None or names & {field.name, field.attname})]


def _state(row: Model, fields: list[Field[Any, Any]]) -> dict[str, Any]:
    """Values by field; another row is called by its name, which outlives it."""
    return {field.name: _plain(getattr(row, field.name)) for field in fields}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str | list | dict):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _kind(model: type[Model]) -> str:
    return str(model._meta.verbose_name)


def _of_row(by: Actor, action: str, row: Model, before: dict[str, Any] | None, after: dict[str, Any] | None) -> JournalEntry:
    return _entry(by, action, _kind(type(row)), str(row), row.pk, before, after)


def _entry(
    by: Actor, action: str, kind: str, name: str, key: object, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> JournalEntry:
    return JournalEntry(
        user_id=by.user_id,
        who=by.name,
        address=by.address,
        action=action,
        kind=kind,
        name=name[:200],
        key=str(key),
        before=before,
        after=after,
        correlation=correlation.current(),
    )
