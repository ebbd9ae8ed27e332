"""A ccxt exchange that keeps the venue's digits and does not swallow garbage.

ccxt turns what venues write into floats, and a message that it cannot read makes it stop reading without a word. Both are
changed here by deriving from its classes; the library itself stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

KEEP_ALIVE_MOST = 64  # characters; longer text that is no JSON is no keep-alive but garbage
Exchange = Any  # ccxt has no types


class Digits(float):
    """A number that remembers how the venue wrote it: ccxt compares and sorts the float, we publish the text."""

    text: str

    def __new__(cls, value: str | float) -> Self:
        """Take a number as it came, as text wherever the venue sends text."""
        number = super().__new__(cls, value)
        number.text = str(value)
        return number

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class _Client(Protocol):
    """What we use of ccxt's WebSocket client."""

    handle_message: Callable[[Any], None]
    on_error: Callable[[Exception], None]


def exact(base: type[Exchange], bad_response: type[Exception]) -> type[Exchange]:
    """A ccxt exchange that keeps digits and does not swallow garbage.

    Args:
        base: the class of `ccxt.pro`.
        bad_response: ccxt's error for answers that make no sense.
    """

    class Exact(base):
        number = Digits

        @staticmethod
        def safe_float(container: Any, key: Any, default: Any = None) -> Any:
            """Order books are read by this: keep their digits too."""
            try:
                return Digits(container[key])
            except (KeyError, IndexError, TypeError, ValueError):
                return default

        @staticmethod
        def safe_string(container: Any, key: Any, default: Any = None) -> Any:
            """ccxt reads its own numbers back with this, and would not know ours."""
            found = base.safe_string(container, key)
            if found is None and type(number := base.safe_value(container, key)) is Digits:
                return number.text
            return default if found is None else found

        def client(self, url: str) -> Any:
            """A message that cannot be read must fail the connection; ccxt would only stop reading, without a word."""
            fresh = url not in (self.clients or {})
            client = super().client(url)
            if fresh:
                _make_strict(client, bad_response)
            return client

    return Exact


def _make_strict(client: _Client, bad_response: type[Exception]) -> None:
    handle = client.handle_message

    def strict(message: Any) -> None:
        try:
            text = message.data
            if isinstance(text, str) and len(text) > KEEP_ALIVE_MOST and text[0] not in "{[":
                raise ValueError("not JSON")
            handle(message)
        except Exception as error:
            client.on_error(bad_response(f"{type(error).__name__}: {error}: {str(message.data)[:200]}"))

    client.handle_message = strict
