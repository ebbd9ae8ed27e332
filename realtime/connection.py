"""One connection as the hub knows it: who, over which sink, following what, and how well it keeps up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from realtime.codes import Close
from realtime.cohorts import Cohort
from realtime.frames import Encoding, size_of
from realtime.outbox import Gap, Outbox

if TYPE_CHECKING:
    from realtime.allowance import Allowance
    from realtime.principal import Principal


class Sink(Protocol):
    """Where a connection's bytes go. No method waits, none raises because the peer is gone.

    Attributes:
        framed: it takes WebSocket frames; otherwise it takes lists of messages.
        deflates: the client agreed to compressed frames.
        full: something waits for the peer. It takes more, but who has a choice should wait for `on_resume`.
        on_pause, on_resume: called when too much waits, and when nothing does any more.
    """

    framed: bool
    deflates: bool
    full: bool
    on_pause: Callable[[], None] | None
    on_resume: Callable[[], None] | None

    def write(self, payload: bytes | list[bytes]) -> bool:
        """Hand over what `Encoding.join` made. False: the connection is closed."""

    def close(self, code: int, reason: str) -> None:
        """Say goodbye; the socket is freed soon even if the peer does not read."""

    def release(self) -> None:
        """The socket is gone: end what still works for it."""


class Connection:
    """State of one socket. The hub alone changes `cohort`, `outbox` and `slow_since`.

    What the shared path sends is counted per cohort. `mark` and `bytes_mark` are those counts as they were when the connection
    was last settled, so that its own are subtractions; `…_before` is what had come together until then.
    """

    __slots__ = (
        "address",
        "agent",
        "allowance",
        "asked",
        "beat_at",
        "beats",
        "bytes_before",
        "bytes_mark",
        "closing",
        "code",
        "cohort",
        "commands",
        "conflated",
        "encoding",
        "gaps",
        "heartbeat_s",
        "lease",
        "mark",
        "max_rate",
        "messages_before",
        "noticed",
        "opened_us",
        "outbox",
        "place",
        "principal",
        "renewed",
        "sent_before",
        "session",
        "sink",
        "slow_since",
        "tap",
    )  # fmt: skip

    def __init__(self, session: str, principal: Principal | None, sink: Sink, encoding: Encoding, *, opened_us: int) -> None:
        self.session = session
        self.principal = principal
        self.sink = sink
        self.encoding = encoding
        self.opened_us = opened_us
        self.address = ""
        self.agent = ""  # what the client says of itself
        self.lease = ""  # its name among the admissions: as its owner's
        self.place = ""  # and as its address's
        self.asked: dict[str, float | None] = {}  # its topics, as they were subscribed to, with the rates that were asked for
        self.renewed: Callable[[], None] | None = None  # called when it is somebody else's, or its owner may do other things
        self.cohort: Cohort | None = None
        self.outbox: Outbox | None = None
        self.max_rate: float | None = None
        self.heartbeat_s: float = 10  # a whole number on the wire, where it is one
        self.beat_at = 0.0
        self.beats = 0
        self.mark = self.bytes_mark = 0
        self.sent_before = self.messages_before = self.bytes_before = 0
        self.commands = 0  # received
        self.allowance: Allowance | None = None  # of bytes, where its plan has a limit
        self.conflated = 0
        self.gaps = 0
        self.slow_since: float | None = None
        self.noticed = False
        self.closing = False
        self.code = 0  # with which it was closed from here
        self.tap: Callable[[bytes | str], None] | None = None  # is shown its commands, while somebody looks on

    @property
    def delay_us(self) -> int:
        """How old everything must be that it is shown, microseconds. While it follows topics this does not change."""
        return self.principal.delay_us if self.principal is not None else 0

    @property
    def sent(self) -> int:
        """Updates given to this connection since it opened, those that wait in its outbox or were replaced there included."""
        return self.sent_before + (self.cohort.sent - self.mark if self.cohort is not None else 0)

    @property
    def messages(self) -> int:
        """Messages handed to its socket since it opened: updates, replies and all others."""
        shared = self.cohort.sent - self.mark if self.cohort is not None and self.outbox is None else 0
        return self.messages_before + shared

    @property
    def sent_bytes(self) -> int:
        """Bytes handed to its socket since it opened: whole frames, or messages where the server makes the frames."""
        shared = self.cohort.sent_bytes - self.bytes_mark if self.cohort is not None and self.outbox is None else 0
        return self.bytes_before + shared

    def settle(self) -> None:
        """Count what the shared path sent until now. Call it before the cohort changes, or whether there is an outbox."""
        self.sent_before, self.messages_before, self.bytes_before = self.sent, self.messages, self.sent_bytes
        self.begin()

    def begin(self) -> None:
        """Count from now on what the shared path sends."""
        if self.cohort is not None:
            self.mark, self.bytes_mark = self.cohort.sent, self.cohort.sent_bytes

    @property
    def blocked(self) -> bool:
        """Whether its socket takes nothing just now, so that whatever it is told waits in its outbox."""
        return self.outbox is not None and self.sink.full

    def write(self, messages: list[bytes]) -> None:
        """Hand messages to its socket alone, all in one write."""
        payload = self.encoding.join([self.encoding.message(message) for message in messages])
        self.messages_before += len(messages)
        self.bytes_before += size_of(payload)
        self.sink.write(payload)

    def say(self, *messages: bytes) -> None:
        """Send control messages, all in one write, ahead of any data that waits."""
        if self.outbox is not None and self.sink.full:
            for message in messages:
                self.outbox.say(message)
        else:
            self.write(list(messages))

    def skip(self, topic: str, gap: Gap) -> None:
        """Announce a loss, behind whatever came before it."""
        self.gaps += 1
        if self.outbox is not None:
            self.outbox.skip(topic, gap)
        else:
            self.say(gap.message(topic))

    async def caught_up(self) -> None:
        """Wait while it reads too little of what it was answered: its next commands wait in its socket until then."""
        if self.outbox is not None and not self.closing:
            await self.outbox.caught_up()

    def close(self, code: Close, notice: bytes | None = None) -> None:
        """Close with a code, after a last notice while the socket takes one."""
        if self.closing:
            return
        if notice is not None and not self.blocked:
            self.say(notice)
        self.closing, self.code = True, int(code)
        if self.outbox is not None:
            self.outbox.give_up()
        self.sink.close(int(code), code.label)


def holder_of(principal: Principal, address: str) -> tuple[str, int | str]:
    """Whose connections are counted together: a user's, or those of an address on the same plan for visitors."""
    if principal.user_id is not None:
        return "user", principal.user_id
    return principal.plan_name, address
