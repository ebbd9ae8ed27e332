"""What all endpoints of REST share: when a request is charged, what caches are told, and how a body is read."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import msgspec
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.views import APIView

T = TypeVar("T")


class Endpoint(APIView):
    """A view that charges for refusals as well, and whose answers are one caller's own.

    Attributes:
        caching: the `Cache-Control` of answers that say nothing else.
    """

    caching: ClassVar[str] = "private, no-store"

    def check_permissions(self, request: Request) -> None:
        """Charge the request, then see whether it is allowed: who is refused must not be able to ask for ever."""
        super().check_throttles(request)
        super().check_permissions(request)

    def check_throttles(self, request: Request) -> None:
        """Nothing: that was done."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Keep caches from handing one caller's answer, or refusal, to another."""
        answer: HttpResponseBase = super().finalize_response(request, response, *args, **kwargs)
        answer.setdefault("Cache-Control", self.caching)
        return answer


def decoded(body: bytes, kind: type[T], what: str) -> T:
    """The JSON of a body.

    Args:
        what: the body shall be, for the message.

    Raises:
        ParseError: it is something else.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ParseError(f"the body is not {what}: {error}") from None
    except RecursionError:
        raise ParseError(f"the body is not {what}: it is nested too deep") from None


def asked_in_body(kind: type[T], request: Request, what: str = "what is asked for") -> T:
    """The JSON of a request's body as a struct; `what` it shall be is for the message.

    Raises:
        UnsupportedMediaType, ParseError: it is none.
    """
    if (request.content_type or "").partition(";")[0].strip() != "application/json":  # a form was read before we can
        raise UnsupportedMediaType(request.content_type or "")
    return decoded(request.body, kind, what)
