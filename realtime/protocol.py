"""The wire: commands in, messages out.

A command is one JSON (or MessagePack) object; `decode` turns it into a struct or refuses it with a code. Messages out are JSON
bytes; what carries market data is spliced around the stored body, never parsed or encoded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import msgspec

from realtime.codes import Close, Code, CodedError, Eviction

SUBPROTOCOLS = {"tickwire.v1.json": "json", "tickwire.v1.msgpack": "msgpack"}
MAX_MESSAGE_BYTES = 16_384
MAX_TOPICS = 200
MAX_HISTORY = 1000

CommandId = int | str | None
Rate = Annotated[float, msgspec.Meta(gt=0, le=10_000)]
Topics = Annotated[list[str], msgspec.Meta(min_length=1)]
_BEATS = msgspec.Meta(ge=1, le=60)


Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
SomeSeq = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]  # Redis refuses greater ones, which must not look like its failure


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last update of a topic that a client has; of a topic that it has nothing of yet, `epoch` is null and `seq` 0."""

    epoch: str | None
    seq: Seq


Positions = dict[str, Position]


class _Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag=str.lower, kw_only=True):
    id: int | Annotated[str, msgspec.Meta(max_length=36)] | None = None


class Auth(_Command, frozen=True, kw_only=True):
    """Say who is connected, or renew that."""

    token: str

    def __repr__(self) -> str:
        return f"Auth(id={self.id!r})"


class Subscribe(_Command, frozen=True, kw_only=True):
    """Follow topics: named, or symbols × types."""

    topics: list[str] | None = None
    symbols: list[str] | None = None
    types: list[str] | None = None
    interval: str | None = None
    snapshot: bool = True
    max_rate: Rate | None = None
    since: Positions | None = None


class Unsubscribe(_Command, frozen=True, kw_only=True):
    """Follow topics no longer."""

    topics: list[str] | None = None
    all: bool = False


class Update(_Command, frozen=True, kw_only=True):
    """Change the rate of followed topics."""

    topics: Topics
    max_rate: Rate | None


class List(_Command, frozen=True, kw_only=True):
    """Ask what is followed."""


class Snapshot(_Command, frozen=True, kw_only=True):
    """Ask for the latest values once."""

    topics: Topics


class History(_Command, frozen=True, kw_only=True):
    """Ask for kept updates of one topic."""

    topic: str
    from_seq: SomeSeq | None = None
    to_seq: SomeSeq | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_HISTORY)] | None = None


class Resume(_Command, frozen=True, kw_only=True):
    """Go on where an earlier connection ended: its topics, and what was published since."""

    session: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    positions: Positions | None = None


class Ack(_Command, frozen=True, kw_only=True):
    """Have positions kept with the session, for a `resume` that names none."""

    positions: Positions


class Configure(_Command, frozen=True, kw_only=True):
    """Change how this connection is served."""

    batch: bool | None = None
    heartbeat: Annotated[int, _BEATS] | Annotated[float, _BEATS] | None = None
    max_rate: Rate | msgspec.UnsetType | None = msgspec.UNSET


class Ping(_Command, frozen=True, kw_only=True):
    """Ask for a sign of life."""

    nonce: int | float | Annotated[str, msgspec.Meta(max_length=64)] | None = None


Command = Auth | Subscribe | Unsubscribe | Update | List | Snapshot | History | Resume | Ack | Configure | Ping
_KINDS: dict[str, type[Command]] = {kind.__name__.lower(): kind for kind in get_args(Command)}


class BadCommand(CodedError):
    """A frame that is no command.

    Attributes:
        id: the frame's id where one could be read.
    """

    def __init__(self, code: Code, message: str, id: CommandId = None) -> None:
        super().__init__(code, message)
        self.id = id


def decode(data: str | bytes, wire: str = "json") -> Command:
    """Read one frame.

    Args:
        data: the frame's payload.
        wire: `json` or `msgpack`.

    Raises:
        BadCommand: 104 for an unknown op, 107 for anything else that is wrong, naming the field.
    """
    fields = _fields(data, wire)
    id = _id(fields.get("id"))
    op = fields.get("op")
    if not isinstance(op, str):
        raise BadCommand(Code.BAD_REQUEST, "field 'op' is missing or not a string", id)
    kind = _KINDS.get(op)
    if kind is None:
        raise BadCommand(Code.UNKNOWN_OP, f"there is no op {op[:40]!r}", id)
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise BadCommand(Code.BAD_REQUEST, str(error).replace("`", "'"), id) from None


def _fields(data: str | bytes, wire: str) -> dict[str, Any]:
    try:
        if wire == "msgpack":
            fields = msgspec.msgpack.decode(data if isinstance(data, bytes) else data.encode())
        else:
            fields = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadCommand(Code.BAD_REQUEST, f"not {'MessagePack' if wire == 'msgpack' else 'JSON'}") from None
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        raise BadCommand(Code.BAD_REQUEST, "not an object")
    return fields


def _id(value: Any) -> CommandId:
    if isinstance(value, str) and len(value) <= 36:
        return value
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_encode = msgspec.json.Encoder().encode


def message(type: str, id: CommandId = None, **fields: Any) -> bytes:
    """A message to the client: a reply when it has the command's id, else a push."""
    head: dict[str, Any] = {"type": type} if id is None else {"type": type, "id": id}
    return _encode(head | fields)


def error(failure: CodedError, id: CommandId = None) -> bytes:
    """The reply to a command that was refused."""
    fields = failure.as_dict() | {"temporary": failure.code.temporary}
    if failure.retry_after_ms is not None:
        fields["retry_after_ms"] = failure.retry_after_ms
    return message("error", id, **fields)


def update(topic: str, seq: int, body: bytes) -> bytes:
    """A push of the topic's next value."""
    return b'{"type":"update","topic":"%b","seq":%d,"data":%b}' % (topic.encode(), seq, body)


def snapshot(topic: str, epoch: str, seq: int, body: bytes) -> bytes:
    """A push of the topic's value to begin from."""
    return b'{"type":"snapshot","topic":"%b","epoch":"%b","seq":%d,"data":%b}' % (topic.encode(), epoch.encode(), seq, body)


def gap(topic: str, epoch: str, first: int, last: int, reason: Literal["overflow", "history", "broker"]) -> bytes:
    """A push that says which updates of an every topic this client will not get."""
    return message("gap", None, topic=topic, epoch=epoch, **{"from": first, "to": last}, reason=reason)


def notice(kind: str, text: str, *, code: Close | None = None, retry_after_ms: int | None = None) -> bytes:
    """A push about the connection itself."""
    fields: dict[str, Any] = {"kind": kind, "message": text}
    if retry_after_ms is not None:
        fields["retry_after_ms"] = retry_after_ms
    if code is not None:
        fields["code"] = int(code)
    return message("notice", None, **fields)


def evicted(topic: str, why: Eviction) -> bytes:
    """A push: the server ended this subscription."""
    return message("evicted", None, topic=topic, code=int(why), name=why.label)


def stamped(topic: str, epoch: str, seq: int, published_us: int, body: bytes) -> dict[str, Any]:  # noqa: ARG001
    """One element of a `snapshots` reply. Of a topic that was never published to, `epoch` and `data` are null."""
    return {"topic": topic, "epoch": epoch or None, "seq": seq, "data": msgspec.Raw(body)}


def numbered(updates: Iterable[tuple[int, bytes]]) -> list[dict[str, Any]]:
    """The elements of a `history` reply."""
    return [{"seq": seq, "data": msgspec.Raw(body)} for seq, body in updates]


def rejected(failures: Mapping[str, CodedError]) -> list[dict[str, Any]]:
    """The `rejected` list of a reply."""
    return [{"topic": topic, **failure.as_dict()} for topic, failure in failures.items()]


def wanted_topics(command: Subscribe) -> Sequence[str]:
    """The topics that a subscribe names, each once, in order.

    Raises:
        CodedError: 107 when it names none or both ways, 106 when it names more than 200.
    """
    if (command.topics is None) == (command.symbols is None and command.types is None):
        raise CodedError(Code.BAD_REQUEST, "name either 'topics', or 'symbols' and 'types'")
    names = command.topics if command.topics is not None else _product(command)
    if not names:
        raise CodedError(Code.BAD_REQUEST, "no topics")
    return bounded_topics(names)


def bounded_topics(names: Iterable[str]) -> Sequence[str]:
    """Each topic once, in order, 200 at most.

    Raises:
        CodedError: 106 when there are more.
    """
    unique = list(dict.fromkeys(names))
    if len(unique) > MAX_TOPICS:
        raise _too_many(len(unique))
    return unique


def _too_many(given: int) -> CodedError:
    text = f"at most {MAX_TOPICS} topics a command"
    return CodedError(Code.LIMIT_EXCEEDED, text, details={"limit": MAX_TOPICS, "given": given})


def _product(command: Subscribe) -> list[str]:
    if not command.symbols or not command.types:
        raise CodedError(Code.BAD_REQUEST, "'symbols' and 'types' go together and are not empty")
    if len(command.symbols) * len(command.types) > 50 * MAX_TOPICS:
        raise _too_many(len(command.symbols) * len(command.types))
    if "kline" in command.types and command.interval is None:
        raise CodedError(Code.BAD_REQUEST, "field 'interval' is missing: type 'kline' needs it")
    kinds = [f"kline.{command.interval}" if kind == "kline" else kind for kind in command.types]
    return [f"{kind}.{symbol}" for symbol in command.symbols for kind in kinds]
