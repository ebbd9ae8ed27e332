"""Bodies of requests that are JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class Json(JSONParser):
    """Django REST framework's parser, to which what is nested too deeply is as wrong as anything else.

    It reads bodies of views that decode theirs by themselves, too: the check of the CSRF token looks into them.
    """

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """The value.

        Raises:
            ParseError: it is none.
        """
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("the body is nested too deeply") from None
