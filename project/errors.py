"""Every failure of REST as one coded error: `{"error": {"code", "name", "message", "temporary"}}` with the fitting status."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
from django.core import exceptions as django
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from django.views.debug import SafeExceptionReporterFilter
from rest_framework import exceptions as rest
from rest_framework.views import set_rollback

from marketdata.errors import DatabaseUnavailable, MarketDataError, StoreUnavailable, TooLarge
from marketdata.udf import PREFIX as UDF
from marketdata.udf import error as in_udf
from realtime.auth import REALM
from realtime.codes import Code, CodedError, internal

API = "/api/"
FOREIGN_HOST = "the request names a host that is not this server's; its operator lists them in TICKWIRE_ALLOWED_HOSTS"
RETRY_MS = 2000  # when to ask again while Redis is away

_STATUS = {
    Code.INTERNAL: 500,
    Code.UNAUTHORIZED: 401,
    Code.UNKNOWN_TOPIC: 404,
    Code.PERMISSION_DENIED: 403,
    Code.UNKNOWN_OP: 404,
    Code.TOKEN_EXPIRED: 401,
    Code.TOO_MANY_REQUESTS: 429,
    Code.UNKNOWN_SYMBOL: 404,
    Code.CONNECTION_LIMIT_EXCEEDED: 429,
    Code.INSUFFICIENT_PLAN: 403,
    Code.FEED_UNAVAILABLE: 503,
    Code.OVERLOADED: 503,
}
_NAMED: dict[type[Exception], Code] = {
    rest.NotAuthenticated: Code.UNAUTHORIZED,
    rest.AuthenticationFailed: Code.UNAUTHORIZED,
    rest.PermissionDenied: Code.PERMISSION_DENIED,
    rest.NotFound: Code.UNKNOWN_OP,
    rest.MethodNotAllowed: Code.UNKNOWN_OP,
    rest.Throttled: Code.TOO_MANY_REQUESTS,
}


def rest_exception_handler(failure: Exception, context: dict[str, Any]) -> HttpResponse | None:  # noqa: ARG001
    """Answer an exception of a view; None: nobody foresaw it, Django shall log it and answer 500."""
    if isinstance(failure, Http404):
        failure = rest.NotFound()
    elif isinstance(failure, django.PermissionDenied):
        failure = rest.PermissionDenied()
    error = _coded(failure)
    if error is None:
        return None
    set_rollback()
    response = answer(error, _status(failure))
    # Django would log every refusal, and while Redis is away every request as an error; the outage itself is logged elsewhere.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _status(failure: Exception) -> int | None:
    if isinstance(failure, TooLarge | django.RequestDataTooBig):
        return 413
    return failure.status_code if isinstance(failure, rest.APIException) else None


def _coded(failure: Exception) -> CodedError | None:
    match failure:
        case CodedError():
            return failure
        case StoreUnavailable():  # the text would name hosts and ports
            return CodedError(Code(failure.code), "the market data cannot be reached just now", retry_after_ms=RETRY_MS)
        case DatabaseUnavailable():
            return CodedError(Code(failure.code), "the database cannot be asked just now", retry_after_ms=RETRY_MS)
        case MarketDataError():
            return CodedError(Code(failure.code), str(failure))
        case django.RequestDataTooBig():
            return CodedError(Code.LIMIT_EXCEEDED, "the body is too large")
        case rest.Throttled():
            wait_s = getattr(failure, "wait", None) or 1.0
            return CodedError(Code.TOO_MANY_REQUESTS, "too many requests", retry_after_ms=round(wait_s * 1000))
        case rest.APIException():
            return CodedError(_NAMED.get(type(failure), Code.BAD_REQUEST), _sentence(failure.detail))
    return None


def _sentence(detail: Any) -> str:
    """The first complaint of DRF's lists and dictionaries of them, with its field's name."""
    match detail:
        case list():
            return _sentence(detail[0])
        case dict():
            field, first = next(iter(detail.items()))
            return f"{field}: {_sentence(first)}"
    return str(detail)


def answer(error: CodedError, status: int | None = None) -> HttpResponse:
    """The response that tells an error; by default with the status that fits its code."""
    fields = error.as_dict() | {"temporary": error.code.temporary}
    response = HttpResponse(msgspec.json.encode({"error": fields}), content_type="application/json")
    response.status_code = status or _STATUS.get(error.code, 400)
    if error.retry_after_ms is not None:
        response["Retry-After"] = str(math.ceil(error.retry_after_ms / 1000))
    if response.status_code == 401:
        response["WWW-Authenticate"] = REALM
    return response


def _is_machine(request: HttpRequest) -> bool:
    return request.path.startswith((API, UDF))


def _told(request: HttpRequest, error: CodedError) -> HttpResponse:
    response = answer(error)
    return in_udf(response) if request.path.startswith(UDF) else response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A request that Django itself refuses, for instance one that names a foreign host."""
    if _is_machine(request):
        text = FOREIGN_HOST if isinstance(exception, django.DisallowedHost) else "Django refuses this request"
        return _told(request, CodedError(Code.BAD_REQUEST, text))
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """An address that does not exist."""
    if _is_machine(request):
        return _told(request, CodedError(Code.UNKNOWN_OP, f"there is nothing at {request.path}"))
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """A failure that nobody foresaw; Django has logged it."""
    if _is_machine(request):
        return _told(request, internal("an unforeseen failure; it has been logged"))
    return defaults.server_error(request)


class Reports(SafeExceptionReporterFilter):
    """What Django's debug page leaves out of the settings: addresses as well, which may have passwords in them."""

    hidden_settings = re.compile(SafeExceptionReporterFilter.hidden_settings.pattern + "|URL", re.IGNORECASE)
