"""Frames at random: valid commands as `protocol` declares them, and what is left of them after mutations."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgspec
from msgspec import inspect

from realtime import protocol

WORDS = ["quote.AAPL", "kline.1m.AAPL", "trade.MSFT", "AAPL", "kline", "1m", "k3f9xa", "", "x" * 40, "\u20ac\x00\U0001f600"]
NASTY: list[Any] = [
    None, True, -1, 0, 1, 2**63, 2**64, -(2**63) - 1, 0.5, 1e308, -0.0, float("nan"), float("inf"), "", "a" * 5000, "\ud800",
    [], {}, [[]], {"": {}}, {"op": "ping"}, [None] * 300,
]  # fmt: skip
RAW = [
    b"\x00", b"\xff", b"\xc1", b"\xed\xa0\x80", b"\\ud800", b'"', b"{", b"}", b"[", b"]", b",", b":", b"1e999", b"NaN", b"-",
    b"9" * 400, b'"op":', b'"op":"ping",', b'"id":{},', b"[" * 2000, b'{"":' * 2000,
    b"\x91" * 2000, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff",
]  # fmt: skip


class Fuzz:
    """Makes frames; the same seed makes the same ones.

    Args:
        seed: of the generator.
        leave_out: ops that are not made, because what they do is not what is tested.
    """

    def __init__(self, seed: int, leave_out: frozenset[str] = frozenset()) -> None:
        self.random = Random(seed)
        structs = [inspect.type_info(kind) for name, kind in protocol._KINDS.items() if name not in leave_out]
        self.structs = [struct for struct in structs if isinstance(struct, inspect.StructType)]

    def frames(self, count: int, wire: str) -> Iterator[bytes]:
        """So many frames; one in ten is left as it was."""
        for _ in range(count):
            command = self.command()
            for _ in range(self.random.choice([0, 0, 1, 2])):
                self._spoil(command)
            frame = self._encode(command, wire)
            for _ in range(self.random.choice([0, 0, 1, 1, 3])):
                frame = self._damage(frame)
            yield frame

    def command(self) -> dict[str, Any]:
        """A valid command, of any op."""
        struct = self.random.choice(self.structs)
        fields = {field.name: field for field in struct.fields}
        chosen = [name for name, field in fields.items() if field.required or self.random.random() < 0.5]
        return {"op": struct.tag, **{name: self._value(fields[name].type) for name in chosen}}

    def _value(self, kind: inspect.Type) -> Any:
        match kind:
            case inspect.UnionType():
                return self._value(self.random.choice(kind.types))
            case inspect.ListType():
                return [self._value(kind.item_type) for _ in range(self.random.randint(1, 4))]
            case inspect.DictType():
                return {self._value(kind.key_type): self._value(kind.value_type) for _ in range(self.random.randint(0, 3))}
            case inspect.StructType():
                return {field.name: self._value(field.type) for field in kind.fields}
            case inspect.BoolType():
                return self.random.random() < 0.5
            case inspect.IntType():
                return self.random.randint(kind.ge or 0, kind.le or 10**6)
            case inspect.FloatType():
                return self.random.uniform(kind.ge or 0.5, kind.le or 60)
            case inspect.StrType():
                return self.random.choice(WORDS)[: kind.max_length]
        return None

    def _spoil(self, command: dict[str, Any]) -> None:
        """Give a field another value, take one away or add one."""
        name = self.random.choice(list(command) or ["op"])
        match self.random.randrange(4):
            case 0:
                command.pop(name, None)
            case 1:
                command["".join(self.random.choices(string.ascii_letters, k=3))] = self.random.choice(NASTY)
            case _:
                command[name] = self.random.choice(NASTY)

    def _encode(self, command: dict[str, Any], wire: str) -> bytes:
        if wire == "json":
            return json.dumps(command).encode()  # which writes NaN, and lone surrogates as escapes
        try:
            return msgspec.msgpack.encode(command)
        except (UnicodeError, OverflowError):
            return b"\xc1"

    def _damage(self, frame: bytes) -> bytes:
        at, to = sorted((self.random.randint(0, len(frame)), self.random.randint(0, len(frame))))
        damages: list[Callable[[], bytes]] = [
            lambda: frame[:at] + frame[to:],
            lambda: frame[:to] + frame[at:],
            lambda: frame[:at] + self.random.choice(RAW) + frame[at:],
            lambda: frame[:at] + self.random.randbytes(self.random.randint(1, 4)) + frame[at + 1 :],
        ]
        return self.random.choice(damages)()
