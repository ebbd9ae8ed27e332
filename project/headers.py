"""What every answer tells browsers to refuse, beyond what Django's own middleware says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction
from csp.constants import NONCE, NONE, SELF
from csp.middleware import CSPMiddleware
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

Answer = Callable[[HttpRequest], HttpResponseBase]
AsyncAnswer = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

# A page runs scripts and shows styles of this server's files only; a script within the page needs the answer's nonce, as import
# maps do, which can be nowhere else. `connect-src 'self'` means this host's sockets as well (CSP 3).
CONTENT_SECURITY: dict[str, Any] = {
    "default-src": [NONE],
    "script-src": [SELF, NONCE],
    "style-src": [SELF],
    "img-src": [SELF, "data:"],  # the API page and the admin draw small icons from their style sheets
    "font-src": [SELF],
    "connect-src": [SELF],
    "manifest-src": [SELF],
    "object-src": [NONE],
    "base-uri": [NONE],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
}
DEVICES = ("camera", "geolocation", "microphone", "payment", "usb", "serial", "hid", "midi", "display-capture")
# called from here, because as a middleware of its own it would send each request into another thread and back, twice
_policy = CSPMiddleware(lambda request: HttpResponse())  # noqa: ARG005
PERMISSIONS = ", ".join(f"{name}=()" for name in DEVICES)


@sync_and_async_middleware
def restricting(answer: Answer | AsyncAnswer) -> Answer | AsyncAnswer:
    """Wrap what answers requests, under Django's handlers of either kind."""
    return _awaited(cast(AsyncAnswer, answer)) if iscoroutinefunction(answer) else _called(cast(Answer, answer))


def _called(answer: Answer) -> Answer:
    def restricted(request: HttpRequest) -> HttpResponseBase:
        _policy.process_request(request)
        return _restricted(request, answer(request))

    return restricted


def _awaited(answer: AsyncAnswer) -> AsyncAnswer:
    async def restricted(request: HttpRequest) -> HttpResponseBase:
        _policy.process_request(request)
        return _restricted(request, await answer(request))

    return restricted


def _restricted(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    response["Permissions-Policy"] = PERMISSIONS
    return _policy.process_response(request, response)
