"""Commands of the monitor's socket."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from monitoring.panes import Filters, Question, View
from realtime.codes import Code
from realtime.protocol import BadCommand, CommandId

SUBPROTOCOL = "tickwire.monitor.v1"


class _Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag=str.lower, kw_only=True):
    id: CommandId = None


class Watch(_Command, frozen=True, kw_only=True):
    """See these views from now on, and no others.

    Attributes:
        views: which.
        filters: which connections, and how many rows.
    """

    views: Annotated[list[View], msgspec.Meta(max_length=10)]
    filters: Filters = Filters()

    def questions(self) -> set[Question]:
        """What is to be computed for it: filters matter to connections, of topics their number does."""
        kept = {"connections": self.filters, "topics": Filters(limit=self.filters.limit)}
        return {Question(view, kept.get(view, Filters())) for view in self.views}


class Ping(_Command, frozen=True, kw_only=True):
    """Are you there?"""


Command = Watch | Ping
_read = msgspec.json.Decoder(Command).decode


def decode(text: str | bytes) -> Command:
    """Read one frame.

    Raises:
        BadCommand: 104 for an unknown op, 107 for anything else that is wrong.
    """
    try:
        command: Command = _read(text)
    except msgspec.ValidationError as error:
        code = Code.UNKNOWN_OP if "`$.op`" in str(error) else Code.BAD_REQUEST
        raise BadCommand(code, str(error).replace("`", "'"), _id(text)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadCommand(Code.BAD_REQUEST, "not JSON") from None
    return command


def _id(text: str | bytes) -> CommandId:
    try:
        fields: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    given = fields.get("id") if isinstance(fields, dict) else None
    return given if isinstance(given, int | str) and not isinstance(given, bool) and len(str(given)) <= 36 else None
