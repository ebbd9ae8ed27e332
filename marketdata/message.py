"""The message that carries one update over the bus, as `publish.lua` writes it."""

from __future__ import annotations

import struct

# every field but the last at a fixed place
_HEAD = b"\x85\xa4type\xadmarket.update\xa3seq\xcf"
_STAMP = struct.Struct(f">{len(_HEAD)}x Q 7x 6s 6x I")
_BODY_AT = _STAMP.size


def read_message(payload: bytes) -> tuple[str, int, bytes] | None:
    """Take apart a bus message that `publish.lua` wrote: (epoch, seq, body). None when somebody else wrote it."""
    if not payload.startswith(_HEAD):
        return None
    seq, epoch, length = _STAMP.unpack_from(payload)
    return epoch.decode(), seq, payload[_BODY_AT : _BODY_AT + length]


def write_message(topic: str, epoch: str, seq: int, body: bytes) -> bytes:
    """Lay out a bus message as `publish.lua` does."""
    name = topic.encode()
    return b"".join(
        (
            _HEAD, struct.pack(">Q", seq), b"\xa5epoch\xa6", epoch.encode(), b"\xa4data\xdb", struct.pack(">I", len(body)), body,
            b"\xa5topic\xd9", bytes([len(name)]), name,
        )
    )  # fmt: skip
