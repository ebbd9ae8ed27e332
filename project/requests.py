"""Each HTTP request's name: taken from `X-Request-ID` or made, shown in its log lines, and returned.

The audit log learns here on whose behalf things happen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from marketdata import correlation, journal

HEADER = "X-Request-ID"
Answer = Callable[[HttpRequest], HttpResponseBase]
AsyncAnswer = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def correlated(answer: Answer | AsyncAnswer) -> Answer | AsyncAnswer:
    """Wrap what answers requests, under Django's handlers of either kind."""
    return _awaited(cast(AsyncAnswer, answer)) if iscoroutinefunction(answer) else _called(cast(Answer, answer))


def _called(answer: Answer) -> Answer:
    def named(request: HttpRequest) -> HttpResponseBase:
        name = _begin(request)
        with journal.serving(request):
            response = answer(request)
        response[HEADER] = name
        return response

    return named


def _awaited(answer: AsyncAnswer) -> AsyncAnswer:
    async def named(request: HttpRequest) -> HttpResponseBase:
        name = _begin(request)
        with journal.serving(request):
            response = await answer(request)
        response[HEADER] = name
        return response

    return named


def _begin(request: HttpRequest) -> str:
    """The name stays until the next request: Django logs refusals when all middleware is done."""
    name = correlation.named(request.headers.get(HEADER))
    correlation.begin(name, request=name)
    return name
