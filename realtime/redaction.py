"""Takes out of messages what would let somebody else act as the client: tokens, and names of sessions, which resume them."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from realtime import protocol

HIDDEN = "••••••"
SECRETS = frozenset({"token", "session"})
KNOWN = frozenset(field.name for kind in get_args(protocol.Command) for field in msgspec.structs.fields(kind)) | {"op"}


def redacted(message: dict[str, Any]) -> dict[str, Any]:
    """A message of ours without secrets. What the market says has none and is left alone."""
    return {name: HIDDEN if name in SECRETS and value else value for name, value in message.items()}


def redacted_command(data: bytes | str) -> dict[str, Any]:
    """What a client sent, in either wire: fields that the protocol knows; a mistyped `token` may be among the others."""
    raw = data.encode() if isinstance(data, str) else data
    try:
        found = msgspec.json.decode(raw) if isinstance(data, str) else msgspec.msgpack.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return {"unreadable": len(raw)}
    known = {name: value for name, value in found.items() if name in KNOWN}
    return redacted(known) | ({"others": len(found) - len(known)} if len(found) > len(known) else {})
