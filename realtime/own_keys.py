"""REST about one's own API keys: list, make, revoke.

Rules of this file:
1. A key makes no keys, and ends none but itself: one that leaked shall neither breed nor lock its owner out.
2. The secret is in the answer that makes the key, and nowhere else.
3. Nobody learns of other users' keys: theirs are answered like keys that do not exist.
4. A key may no more than whoever makes it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotAuthenticated, NotFound, ParseError, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from marketdata.database import answering
from marketdata.endpoint import Endpoint, asked_in_body
from realtime.codes import Code, CodedError
from realtime.keys import create_key, revoke
from realtime.models import ApiKey
from realtime.principal import Principal
from realtime.rights import PUBLISH
from realtime.serializers import Key, Keys, MadeKey, NewKey

MOST_KEYS = 20  # of one user, that have not ended
MOST_SHOWN = 200  # those that were revoked lately among them

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_KEY = {
    "prefix": "k3f9xa7q", "name": "notebook", "can_publish": False, "is_staff": False, "created_at": 1731672000123456,
    "expires_at": 4102444800000000, "last_used_at": None, "revoked_at": None,
}  # fmt: skip
_MADE = _KEY | {"key": "tw_k3f9xa7q_…"}
_NEW = {"name": "notebook", "expires_at": 4102444800000000}
_SESSION: list[Any] = [{"session": []}]
_SESSION_OR_KEY: list[Any] = [{"apiKey": []}, {"session": []}]


class IsUser(BasePermission):
    """Lets users in, by session or by key."""

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002
        """True.

        Raises:
            NotAuthenticated: a visitor.
        """
        principal = cast(Principal | None, request.auth)
        if principal is None or principal.user_id is None:
            raise NotAuthenticated
        return True


class _View(Endpoint):
    permission_classes = [IsUser]


class KeysView(_View):
    """The caller's keys."""

    @extend_schema(
        operation_id="keys",
        summary="Your API keys, without their secrets",
        responses=OpenApiResponse(Keys, "your keys: first those that were not revoked, each newest first"),
        examples=[OpenApiExample("answer", {"keys": [_KEY]}, response_only=True)],
        auth=_SESSION_OR_KEY,
    )
    def get(self, request: Request) -> HttpResponse:
        """Those that live, and those that ended lately."""
        with answering():
            return _json(Keys([_shown(row) for row in _latest(_user_id(request))]))

    @extend_schema(
        operation_id="make_key",
        summary="Make an API key; its secret is in this answer only",
        request=NewKey,
        responses={201: OpenApiResponse(MadeKey, "the key")},
        examples=[
            OpenApiExample("answer", _MADE, response_only=True, status_codes=["201"]),
            OpenApiExample("request", _NEW, request_only=True),
        ],
        auth=_SESSION,
    )
    def post(self, request: Request) -> HttpResponse:
        """By session only."""
        if not _by_session(request):
            raise PermissionDenied("keys are made by session only: log in at /login/")
        asked = _asked(request)
        with answering():
            row, key = _make(_user_id(request), asked)
        return _json(MadeKey(**msgspec.structs.asdict(_shown(row)), key=key), 201)


class KeyView(_View):
    """One of the caller's keys."""

    @extend_schema(
        operation_id="revoke_key",
        summary="Revoke one of your API keys for good",
        responses={204: OpenApiResponse(description="it is revoked, by this request or an earlier one")},
        auth=_SESSION_OR_KEY,
    )
    def delete(self, request: Request, prefix: str) -> HttpResponse:
        """By session any, by key only that key."""
        with answering():
            own = ApiKey.objects.filter(user_id=_user_id(request), prefix=prefix)
            if not own.exists():
                raise NotFound(f"you have no key {prefix!r}")
            if not _by_session(request) and prefix != cast(Principal, request.auth).key_prefix:
                raise PermissionDenied("with a key none is revoked but that key: log in at /login/")
            revoke(own)
        return HttpResponse(status=204)


def _user_id(request: Request) -> int:
    return cast(int, cast(Principal, request.auth).user_id)  # `IsUser` saw to it


def _by_session(request: Request) -> bool:
    """Whether the caller's cookie said who it is: where there is an `Authorization`, that alone counts."""
    return "Authorization" not in request.headers


def _asked(request: Request) -> NewKey:
    """What the body asks for.

    Raises:
        UnsupportedMediaType, ParseError: it is no JSON, or no such key can be.
    """
    asked = asked_in_body(NewKey, request, "a key's description")
    if asked.expires_at is not None and _time(asked.expires_at) <= timezone.now():
        raise ParseError("'expires_at' is past; it is in microseconds since the Unix epoch")
    return asked


def _latest(user_id: int) -> list[ApiKey]:
    own = ApiKey.objects.filter(user_id=user_id)
    return list(own.order_by(F("revoked_at").desc(nulls_first=True), "-created_at")[:MOST_SHOWN])


@transaction.atomic
def _make(user_id: int, asked: NewKey) -> tuple[ApiKey, str]:
    """Make the key.

    Raises:
        PermissionDenied: the caller may not do what the key shall do.
        CodedError: there are too many.
    """
    user = User.objects.select_for_update().get(pk=user_id)  # two at once must not be one too many
    if asked.can_publish and not user.has_perm(PUBLISH):
        raise PermissionDenied("you may not publish, so your keys may not either")
    if asked.is_staff and not user.is_staff:
        raise PermissionDenied("you are not staff, so your keys are not either")
    living = user.api_keys.filter(revoked_at=None).exclude(expires_at__lte=timezone.now())
    if living.count() >= MOST_KEYS:
        text = f"you have {MOST_KEYS} keys, which is the most; revoke one first"
        raise CodedError(Code.LIMIT_EXCEEDED, text, details={"limit": MOST_KEYS})
    ends = None if asked.expires_at is None else _time(asked.expires_at)
    return create_key(user, asked.name, can_publish=asked.can_publish, is_staff=asked.is_staff, expires_at=ends)


def _shown(row: ApiKey) -> Key:
    return Key(
        prefix=row.prefix,
        name=row.name,
        can_publish=row.can_publish,
        is_staff=row.is_staff,
        created_at=(row.created_at - _EPOCH) // _MICROSECOND,
        expires_at=_us(row.expires_at),
        last_used_at=_us(row.last_used_at),
        revoked_at=_us(row.revoked_at),
    )


def _us(time: datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // _MICROSECOND


def _time(us: int) -> datetime:
    return _EPOCH + us * _MICROSECOND


def _json(answer: msgspec.Struct, status: int = 200) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(answer), content_type="application/json", status=status)
