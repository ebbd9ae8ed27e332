"""Who is connecting: session, API key, ticket, JWT, anonymous.

Rules of this file:
1. REST and sockets ask the same function, `resolve`, in the same order: `Authorization` header, session, page pass, anonymous.
2. A bad `Authorization` header is refused; it never makes its sender anonymous. A cookie that names nobody (any more) is
   as good as none: browsers send cookies unasked.
3. A refusal never says what was wrong with a key.
4. On a socket cookies count only from this server's own pages: no other protection stops a foreign page there.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

import msgspec
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest, HttpResponse, parse_cookie
from django.utils.functional import SimpleLazyObject
from django.utils.http import is_same_domain
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from marketdata.database import answering
from marketdata.errors import DatabaseUnavailable
from marketdata.topics import DataType
from realtime.codes import Code, CodedError
from realtime.keys import digest, find_key
from realtime.limits import ANONYMOUS, CACHED_S, Limits, last_known, named
from realtime.models import ApiKey
from realtime.remembered import Remembered

STAFF_PLAN = "pro"
PAGE_COOKIE = "tickwire_page"
PAGE_PASS_S = 24 * 3600
RETRY_MS = 2000  # when to try again while the database is away
REALM = 'Bearer realm="tickwire"'

_verified: Remembered[Principal] = Remembered(CACHED_S, 10_000)
_threads = ThreadPoolExecutor(4, "identify")  # its own, so that no other query of this process waits behind a reconnect storm


class Unauthorized(CodedError):
    """A credential that is not accepted, or one from where it must not come."""

    def __init__(self, message: str = "the credential is not valid") -> None:
        super().__init__(Code.UNAUTHORIZED, message)


class CannotTell(CodedError):
    """Nobody can be identified just now: the database does not answer."""

    def __init__(self) -> None:
        super().__init__(Code.OVERLOADED, "credentials cannot be checked just now; try again", retry_after_ms=RETRY_MS)


class Principal(msgspec.Struct, frozen=True):
    """Who is connecting, and what the plan allows.

    Attributes:
        user_id, name: None for visitors.
        plan_name, limits: the plan.
        can_publish: may post ticks.
        is_staff: may use the staff endpoints; with a key only if both the key and its user may.
        key_prefix: of the API key that was shown; None without one.
    """

    user_id: int | None
    name: str | None
    plan_name: str
    limits: Limits
    can_publish: bool = False
    is_staff: bool = False
    key_prefix: str | None = None

    @property
    def data_types(self) -> frozenset[DataType]:
        """What may be read."""
        return self.limits.data_types


@dataclass(frozen=True)
class Credentials:
    """What a request or handshake shows of itself; None where it shows nothing."""

    authorization: str | None = None
    session: SessionBase | None = None
    page_pass: str | None = None


NOTHING = Credentials()


def resolve(shown: Credentials) -> Principal | None:
    """Find out whose credentials these are; see `identify` for returns and errors."""
    try:
        return _resolve(shown)
    except DatabaseUnavailable as error:
        raise CannotTell from error


def _resolve(shown: Credentials) -> Principal | None:
    if shown.authorization is not None:
        return _remembered(shown) or _bearer(shown.authorization)
    user = _user_of(shown.session) if shown.session else None
    if isinstance(user, User):
        return _principal(user)
    if shown.page_pass and _is_page_pass(shown.page_pass):
        plan = settings.TICKWIRE.serving.dashboard_plan
        return _visitor(plan, named(plan))
    return _visitor(ANONYMOUS, named(ANONYMOUS))


def _user_of(session: SessionBase) -> Any:
    with answering():  # get_user wants a request but looks at its session only
        return get_user(cast(HttpRequest, SimpleNamespace(session=session)))


def _visitor(plan: str, limits: Limits | None) -> Principal | None:
    return None if limits is None else Principal(None, None, plan, limits)


def _principal(user: User, key: ApiKey | None = None) -> Principal:
    plan, limits = _plan(user)
    if limits is None:
        raise Unauthorized(f"the plan {plan!r} is not available")
    if key is None:
        return Principal(user.pk, user.get_username(), plan, limits, is_staff=user.is_staff)
    is_staff = user.is_staff and key.is_staff
    return Principal(user.pk, user.get_username(), plan, limits, key.can_publish, is_staff, key.prefix)


def _plan(user: User) -> tuple[str, Limits | None]:
    account = getattr(user, "account", None)
    if account is not None:
        return account.plan.name, Limits.of(account.plan) if account.plan.enabled else None
    if (user.is_staff or user.is_superuser) and (limits := named(STAFF_PLAN)):
        return STAFF_PLAN, limits
    default = settings.TICKWIRE.serving.default_plan
    return default, named(default)


def _bearer(authorization: str) -> Principal:
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("expected 'Authorization: Bearer <API key>'")
    with answering():
        key = find_key(token.strip())
    if key is None:
        raise Unauthorized
    principal = _principal(key.user, key)
    _verified.set(digest(authorization), principal)
    return principal


def _remembered(shown: Credentials) -> Principal | None:
    """Whom the last two seconds' check of the same header found, so that a reconnect storm costs few queries."""
    return _verified.get(digest(shown.authorization)) if shown.authorization else None


def forget_principals() -> None:
    """Ask the database again from now on."""
    _verified.clear()


class AccountBackend(ModelBackend):
    """Django's own backend, reading a session's user together with account and plan: one query instead of three."""

    def get_user(self, user_id: int) -> User | None:
        """The active user of that id."""
        user = User.objects.select_related("account__plan").filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None


def grant_page_pass(request: HttpRequest, response: HttpResponse) -> None:
    """Let the built-in page's visitor use the dashboard plan for a day."""
    response.set_cookie(
        PAGE_COOKIE, _page_signer().sign("page"), PAGE_PASS_S, httponly=True, samesite="Strict", secure=request.is_secure()
    )


def _is_page_pass(text: str) -> bool:
    try:
        return _page_signer().unsign(text, max_age=PAGE_PASS_S) == "page"
    except BadSignature:
        return False


def _page_signer() -> TimestampSigner:
    return TimestampSigner(salt="tickwire.page")


async def identify(scope: Mapping[str, Any]) -> Principal | None:
    """Find out who opens a socket.

    Args:
        scope: ASGI scope of the handshake; only its headers are looked at.

    Returns:
        None where the visitor must say more: there is no credential and no anonymous plan.

    Raises:
        Unauthorized: a bad credential, or cookies sent by another site's page.
        CannotTell: the database does not answer.
    """
    shown = _socket_credentials(scope)
    if shown == NOTHING and (plans := last_known()) is not None:  # a visitor: no thread, and no wait for a busy database
        return _visitor(ANONYMOUS, plans.get(ANONYMOUS))
    return _remembered(shown) or await _resolve_in_thread(shown)


async def identify_token(token: str) -> Principal:
    """Find out whose the token of an `auth` command is.

    Raises:
        Unauthorized: nobody's.
        CannotTell: the database does not answer.
    """
    shown = Credentials(authorization=f"Bearer {token}")
    return _remembered(shown) or cast(Principal, await _resolve_in_thread(shown))


_resolve_in_thread = database_sync_to_async(resolve, thread_sensitive=False, executor=_threads)


def _socket_credentials(scope: Mapping[str, Any]) -> Credentials:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if "authorization" in headers:
        return Credentials(authorization=headers["authorization"])
    cookies = parse_cookie(headers.get("cookie", ""))
    session_key, page_pass = cookies.get(settings.SESSION_COOKIE_NAME), cookies.get(PAGE_COOKIE)
    if (session_key or page_pass) and not _is_own_origin(headers.get("origin", ""), headers.get("host", "")):
        raise Unauthorized("cookies are accepted from this server's own pages only")
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key) if session_key else None
    return Credentials(session=session, page_pass=page_pass)


def _is_own_origin(origin: str, host: str) -> bool:
    """Whether a page of `origin` may speak for its visitor: a page of this very host, or of a trusted origin."""
    try:
        found = urlsplit(origin.lower())
    except ValueError:
        return False
    return bool(found.netloc) and (
        found.netloc == host.lower() or any(_covers(trusted, found) for trusted in settings.TICKWIRE.site.trusted_origins)
    )


def _covers(trusted: str, origin: SplitResult) -> bool:
    """Whether a trusted origin, maybe with Django's wildcard (`https://*.example.com`), means this one."""
    scheme, _, domain = trusted.lower().partition("://")
    return scheme == origin.scheme and is_same_domain(origin.netloc, domain.removeprefix("*"))


class RestAuthentication(SessionAuthentication):
    """Sets `request.auth` to the principal. A session must show its CSRF token to change anything; a key need not."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """User and principal; None where there is no credential and no anonymous plan.

        Raises:
            Unauthorized: a bad credential.
            CannotTell: the database does not answer.
            PermissionDenied: an unsafe method with a session but without its CSRF token.
        """
        session = request.session if settings.SESSION_COOKIE_NAME in request.COOKIES else None
        shown = Credentials(request.headers.get("Authorization"), session, request.COOKIES.get(PAGE_COOKIE))
        principal = resolve(shown)
        if principal is None:
            return None
        if principal.user_id is not None and principal.key_prefix is None:
            self.enforce_csrf(request)
        return _user(principal), principal

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        """What a 401 asks for."""
        return REALM


def _user(principal: Principal) -> Any:
    """The user, read from the database only when a view looks at it: what views need is in the principal."""
    user_id = principal.user_id
    return AnonymousUser() if user_id is None else SimpleLazyObject(lambda: User.objects.get(pk=user_id))


class IsStaff(BasePermission):
    """Lets staff in."""

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002
        """Whether the principal is staff.

        Raises:
            NotAuthenticated: there is no user at all.
        """
        principal = cast(Principal | None, request.auth)
        if principal is None or principal.user_id is None:
            raise NotAuthenticated
        return principal.is_staff
