"""Who is connecting: session, API key, ticket, JWT, anonymous.

Rules of this file:
1. REST and sockets ask the same function, `resolve`, in the same order: token, session, page pass, anonymous.
2. A bad `Authorization` header is refused; it never makes its sender anonymous. A cookie that names nobody (any more) is
   as good as none: browsers send cookies unasked.
3. A refusal never says what was wrong with a credential, except that a signed token is too old.
4. On a socket cookies count only from this server's own pages: no other protection stops a foreign page there.
5. What a credential is worth is asked of the database once, and again when this process is told of a change or, where it is
   told nothing, in two seconds; a ticket or signed token can only take away from that, or name another plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

import msgspec
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, get_user
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest, HttpResponse, parse_cookie
from django.utils.functional import SimpleLazyObject
from django.utils.http import is_same_domain
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from marketdata.database import answering
from marketdata.errors import DatabaseUnavailable, StoreUnavailable
from marketdata.store import now_us
from realtime.bans import bans
from realtime.guesses import refuse_at_once, watching
from realtime.keys import digest, find_key, living_key
from realtime.limits import ANONYMOUS, CACHED_S, Limits, last_known, named
from realtime.models import ApiKey
from realtime.principal import CannotTell, Login, Principal, TokenExpired, Unauthorized
from realtime.remembered import Remembered
from realtime.tickets import Ticket, is_ticket, tickets

STAFF_PLAN = "pro"
PAGE_COOKIE = "tickwire_page"
PAGE_PASS_S = 24 * 3600
BANNED = "an operator shut you out"
REALM = 'Bearer realm="tickwire"'

TOLD_S = 60.0  # for how long a process that is told of changes believes what a key is worth

_verified: Remembered[Principal] = Remembered(CACHED_S, 10_000, TOLD_S)
_worth: Remembered[Principal] = Remembered(CACHED_S, 10_000, TOLD_S)
_threads = ThreadPoolExecutor(4, "identify")  # its own, so that no other query of this process waits behind a reconnect storm


@dataclass(frozen=True)
class Credentials:
    """What a request, handshake or `auth` shows; None where it shows nothing. A `token`, on sockets only, may be a ticket.

    Attributes:
        address: where it came from; empty: nobody knows.
    """

    token: str | None = field(default=None, repr=False)
    authorization: str | None = field(default=None, repr=False)
    session: SessionBase | None = field(default=None, repr=False)
    page_pass: str | None = field(default=None, repr=False)
    address: str = field(default="", compare=False)


NOTHING = Credentials()


def resolve(shown: Credentials) -> Principal | None:
    """Find out whose credentials these are; see `identify` for returns and errors."""
    try:
        with watching(shown.address, shown.token or shown.authorization):
            with suppress(DatabaseUnavailable):  # those that are known stay in force
                bans.refresh_if_older(CACHED_S)
            return _resolve(shown)
    except DatabaseUnavailable as error:
        raise CannotTell from error


def _resolve(shown: Credentials) -> Principal | None:
    if shown.token is not None and is_ticket(shown.token):
        return _of_ticket(shown.token)
    if (token := _token(shown)) is not None:
        return _remembered(shown) or _of_token(token)
    user = _user_of(shown.session) if shown.session else None
    if isinstance(user, User):
        return msgspec.structs.replace(principal_of(user), login=_login(cast(SessionBase, shown.session)))
    if shown.page_pass and _is_page_pass(shown.page_pass):
        plan = settings.TICKWIRE.serving.dashboard_plan
        return _visitor(plan, named(plan))
    return _visitor(ANONYMOUS, named(ANONYMOUS))


def _token(shown: Credentials) -> str | None:
    if shown.authorization is None:
        return shown.token
    scheme, _, token = shown.authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("expected 'Authorization: Bearer <API key or signed token>'")
    return token.strip()


def _user_of(session: SessionBase) -> Any:
    with answering():  # get_user wants a request but looks at its session only
        return get_user(cast(HttpRequest, SimpleNamespace(session=session)))


def _login(session: SessionBase) -> Login:
    return Login.of(session.session_key or "", session.get(HASH_SESSION_KEY, ""))


def _visitor(plan: str, limits: Limits | None) -> Principal | None:
    return None if limits is None else Principal(None, None, plan, limits)


def principal_of(user: User, key: ApiKey | None = None) -> Principal:
    """Who a user is, or a key of theirs.

    Args:
        user: with account and plan, or they cost further queries.
        key: from `keys.with_rights`.

    Raises:
        Unauthorized: the plan is not available.
    """
    plan, limits = _plan(user)
    if limits is None:
        raise Unauthorized(f"the plan {plan!r} is not available")
    account = getattr(user, "account", None)
    overrides = account.overrides if account is not None else {}
    whole = Principal(
        user.pk, user.get_username(), plan, limits.overridden(overrides), is_staff=user.is_staff, overrides=overrides
    )
    if key is None:
        return whole
    return msgspec.structs.replace(
        whole,
        can_publish=key.can_publish and key.may_publish,  # type: ignore[attr-defined]  # see `living_key`
        is_staff=user.is_staff and key.is_staff,
        key_prefix=key.prefix,
        expires_at_us=int(key.expires_at.timestamp() * 1e6) if key.expires_at else None,
    )


def _plan(user: User) -> tuple[str, Limits | None]:
    account = getattr(user, "account", None)
    if account is not None:
        return account.plan.name, Limits.of(account.plan) if account.plan.enabled else None
    if (user.is_staff or user.is_superuser) and (limits := named(STAFF_PLAN)):
        return STAFF_PLAN, limits
    default = settings.TICKWIRE.serving.default_plan
    return default, named(default)


def _of_token(token: str) -> Principal:
    asked = _verified.forgotten
    principal = _of_signed(token) if token.count(".") == 2 else _of_key(token)
    _verified.set(digest(token), principal, asked)
    return principal


def _of_key(text: str) -> Principal:
    with answering():
        key = find_key(text)
    if key is None:
        raise Unauthorized
    return principal_of(key.user, key)


def _of_signed(token: str) -> Principal:
    from realtime import tokens  # not before somebody shows one: cryptography takes ten megabytes of each process
    from realtime.jwks import KeysUnavailable

    verifier = tokens.verifier()
    try:
        claims = verifier.read(token) if verifier is not None else None
    except tokens.Expired:
        raise TokenExpired from None
    except KeysUnavailable:
        raise CannotTell from None
    if claims is None:
        raise Unauthorized
    user = _worth_of(f"user {claims.name}", lambda: _active_user(username=claims.name))
    return _narrowed(user, claims.plan, claims.expires_at_us, can_publish=False, is_staff=False)


def _of_ticket(text: str) -> Principal:
    try:
        ticket = tickets().redeem(text)
    except StoreUnavailable as error:
        raise CannotTell from error
    if ticket is None or (ticket.expires_at_us is not None and ticket.expires_at_us <= now_us()):
        raise Unauthorized
    prefix = ticket.key_prefix
    if prefix is not None:
        whole = _worth_of(f"key {prefix}", lambda: living_key(prefix))
    else:
        whole = _worth_of(f"id {ticket.user_id}", lambda: _active_user(pk=ticket.user_id))
    is_staff = ticket.is_staff and whole.is_staff
    found = _narrowed(whole, ticket.plan, ticket.expires_at_us, can_publish=whole.can_publish, is_staff=is_staff)
    return msgspec.structs.replace(found, login=Login.of(*ticket.login) if ticket.login is not None else None)


def issue_ticket(principal: Principal) -> str:
    """Make a one-time ticket that stands in for the credential of a principal.

    Raises:
        NotAuthenticated: a visitor has none.
        CannotTell: Redis does not answer.
    """
    if principal.user_id is None:
        raise NotAuthenticated
    plan = principal.plan_name if principal.plan_claimed else None
    login = (principal.login.key, principal.login.auth_hash) if principal.login is not None else None
    ticket = Ticket(
        principal.user_id, principal.key_prefix, plan, principal.can_publish, principal.is_staff, principal.expires_at_us, login
    )
    try:
        return tickets().issue(ticket)
    except StoreUnavailable as error:
        raise CannotTell from error


def _worth_of(name: str, find: Callable[[], User | ApiKey | None]) -> Principal:
    """The principal that a user or key is, as the database said within the last two seconds."""
    asked = _worth.forgotten
    if (known := _worth.get(name)) is not None:
        return known
    with answering():
        found = find()
    if found is None:
        raise Unauthorized
    principal = principal_of(found.user, found) if isinstance(found, ApiKey) else principal_of(found)
    _worth.set(name, principal, asked)
    return principal


def _active_user(**which: Any) -> User | None:
    return User.objects.select_related("account__plan").filter(is_active=True, **which).first()


def _narrowed(whole: Principal, plan: str | None, ends_us: int | None, *, can_publish: bool, is_staff: bool) -> Principal:
    """The principal with what a ticket or signed token says of plan and end, and without the rights that it has not."""
    limits = whole.limits if plan is None else named(plan)
    if limits is None:
        raise Unauthorized
    return msgspec.structs.replace(
        whole,
        plan_name=plan or whole.plan_name,
        limits=limits.overridden(whole.overrides),
        plan_claimed=plan is not None,
        expires_at_us=ends_us,
        can_publish=can_publish,
        is_staff=is_staff,
    )


def _remembered(shown: Credentials) -> Principal | None:
    """Whom the last two seconds' check of the same token found, so that a reconnect storm costs few queries."""
    token = _token(shown)
    known = _verified.get(digest(token)) if token is not None else None
    return None if known is not None and known.expired else known


def hears_of_changes(hears: bool) -> None:
    """Say whether this process is told of every change from now on. What was told before, it may have missed."""
    forget_principals()
    _verified.told = _worth.told = hears


def known(authorization: str | None, address: str) -> Principal | None:
    """Who sends a REST request with this header, or none, and no cookie, as far as memory tells; None: ask `RestAuthentication`.

    Raises:
        Unauthorized: the header is none that could be good.
    """
    if authorization is not None:
        found = _remembered(Credentials(authorization=authorization))
    else:
        found = _visitor(ANONYMOUS, (last_known() or {}).get(ANONYMOUS))
    shut_out = found is None or bans.is_older(CACHED_S) or bans.covers(address, found.user_id)
    return None if shut_out else found


def remembered() -> list[Principal]:
    """Whose tokens are good just now without the database's being asked."""
    return _verified.believed()


def forget_principals() -> None:
    """Ask the database again from now on."""
    _verified.clear()
    _worth.clear()


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
        scope: ASGI scope of the handshake; only its headers and the client's address are looked at.

    Returns:
        None where the visitor must say more: there is no credential and no anonymous plan.

    Raises:
        Unauthorized: a bad credential, an expired one, or cookies sent by another site's page.
        CannotTell: nobody can just now.
    """
    shown = _socket_credentials(scope)
    if shown == NOTHING and (plans := last_known()) is not None:  # a visitor: no thread, and no wait for a busy database
        return _visitor(ANONYMOUS, plans.get(ANONYMOUS))
    return _remembered(shown) or await _resolve_elsewhere(shown)


async def identify_token(token: str, address: str = "") -> Principal:
    """Find out whose the token of an `auth` command is, or of a subprotocol: an API key, a signed token or a ticket.

    Raises:
        Unauthorized: nobody's, or (`TokenExpired`) nobody's any more.
        CannotTell: nobody can just now.
    """
    shown = Credentials(token=token.strip(), address=address)
    return _remembered(shown) or cast(Principal, await _resolve_elsewhere(shown))


async def _resolve_elsewhere(shown: Credentials) -> Principal | None:
    refuse_at_once(shown.address, shown.token or shown.authorization)
    found: Principal | None = await _resolve_in_thread(shown)
    return found


_resolve_in_thread = database_sync_to_async(resolve, thread_sensitive=False, executor=_threads)


def _socket_credentials(scope: Mapping[str, Any]) -> Credentials:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if "authorization" in headers:
        address = (scope.get("client") or [""])[0]
        return Credentials(authorization=headers["authorization"], address=address)
    cookies = parse_cookie(headers.get("cookie", ""))
    session_key, page_pass = cookies.get(settings.SESSION_COOKIE_NAME), cookies.get(PAGE_COOKIE)
    if (session_key or page_pass) and not _is_own_origin(headers.get("origin", ""), headers.get("host", "")):
        raise Unauthorized("cookies are accepted from this server's own pages only")
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key) if session_key else None
    return Credentials(session=session, page_pass=page_pass)


def _is_own_origin(origin: str, host: str) -> bool:
    """Whether a page of `origin` may speak for its visitor: a page of this very host, or of a trusted origin.

    Where visitors come by https, a page that came by http is not ours: anybody on the way can have written it.
    """
    try:
        found = urlsplit(origin.lower())
    except ValueError:
        return False
    site = settings.TICKWIRE.site
    is_ours = found.netloc == host.lower() and (found.scheme == "https" or not site.https)
    return bool(found.netloc) and (is_ours or any(_covers(trusted, found) for trusted in site.trusted_origins))


def _covers(trusted: str, origin: SplitResult) -> bool:
    """Whether a trusted origin, maybe with Django's wildcard (`https://*.example.com`), means this one."""
    scheme, _, domain = trusted.lower().partition("://")
    return scheme == origin.scheme and is_same_domain(origin.netloc, domain.removeprefix("*"))


class RestAuthentication(SessionAuthentication):
    """Sets `request.auth` to the principal. A session must show its CSRF token to change anything; who sends a token need not."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """User and principal; None where there is no credential and no anonymous plan.

        Raises:
            Unauthorized: a bad credential, or an expired one.
            CannotTell: nobody can just now.
            PermissionDenied: an unsafe method with a session but without its CSRF token.
        """
        session = request.session if settings.SESSION_COOKIE_NAME in request.COOKIES else None
        address = request.META.get("REMOTE_ADDR", "")
        shown = Credentials(None, request.headers.get("Authorization"), session, request.COOKIES.get(PAGE_COOKIE), address)
        principal = resolve(shown)
        if principal is None:
            return None
        if bans.covers(address, principal.user_id):
            raise PermissionDenied(BANNED)
        if principal.user_id is not None and shown.authorization is None:
            # Django's request: REST framework's own would parse the body, in search of a form's field
            self.enforce_csrf(request._request)  # type: ignore[arg-type]
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
