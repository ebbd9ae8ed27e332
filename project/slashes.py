"""Where a request goes that lacks the slash at the end of its address."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.utils.http import escape_leading_slashes

PERMANENT_AS_IT_IS = 308  # after 301 many clients send a POST again as a GET, without its body


class Slashes(CommonMiddleware):
    """Django's own, but a request that is sent on keeps its method and body."""

    def get_full_path_with_slash(self, request: HttpRequest) -> str:
        """The right address; Django would refuse to tell it for a POST in debug mode, because of what 301 does."""
        return escape_leading_slashes(request.get_full_path(force_append_slash=True))

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """The response, or the way to the right address."""
        told: HttpResponseBase = super().process_response(request, response)
        if told is not response and request.method not in ("GET", "HEAD"):
            told.status_code = PERMANENT_AS_IT_IS
        return told
