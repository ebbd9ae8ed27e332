"""Lines are written in order by a thread; whoever has one written never waits, and what found no room is counted."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from monitoring.line_writer import LineWriter, write_to


class Reader:
    """Takes what is written, unless it is told to stand still."""

    def __init__(self) -> None:
        self.text = b""
        self.goes = threading.Event()
        self.goes.set()
        self.dropped = 0

    def write(self, text: bytes) -> None:
        self.goes.wait(20)
        self.text += text

    def news(self, dropped: int) -> Iterator[bytes]:
        self.dropped += dropped
        if dropped:
            yield b"(%d dropped)\n" % dropped


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def writer(reader: Reader) -> Iterator[LineWriter]:
    found = LineWriter(reader.write, reader.news, lambda: False, most_bytes=1000)
    yield found
    reader.goes.set()
    found.close()


def test_lines_are_written_in_order(reader: Reader, writer: LineWriter) -> None:
    lines = [b"%d\n" % number for number in range(100)]
    for line in lines:
        assert writer.put(line)
    assert writer.flush()
    assert reader.text == b"".join(lines)


def test_nobody_waits_for_a_reader_that_stands_still(reader: Reader, writer: LineWriter) -> None:
    reader.goes.clear()
    taken = sum(writer.put(b"x" * 99 + b"\n") for _ in range(100_000))
    assert 10 <= taken <= 20  # what is bounded, and what is being written
    assert not writer.flush(0.01)


def test_what_was_dropped_is_told_when_there_is_room_again(reader: Reader, writer: LineWriter) -> None:
    reader.goes.clear()
    taken = sum(writer.put(b"x" * 99 + b"\n") for _ in range(50))
    reader.goes.set()
    assert writer.flush()
    assert reader.text.count(b"x\n") == taken
    assert b"dropped)" in reader.text
    assert reader.dropped == 50 - taken


def test_closing_writes_what_waits(reader: Reader, writer: LineWriter) -> None:
    writer.put(b"last\n")
    writer.close()
    assert reader.text == b"last\n"


def test_a_line_after_the_end_is_written_all_the_same(reader: Reader, writer: LineWriter) -> None:
    writer.close()
    writer.put(b"later\n")
    assert reader.text == b"later\n"


def test_a_line_after_the_end_is_dropped_where_the_reader_stands_still(reader: Reader, writer: LineWriter) -> None:
    reader.goes.clear()
    writer.put(b"last\n")
    assert not writer.flush(0.01)
    writer.close()
    assert not writer.put(b"later\n")


def test_all_of_a_text_is_written_to_a_descriptor_in_however_many_steps() -> None:
    reading, writing = os.pipe()
    text, found = b"x" * (1 << 20), bytearray()

    def read() -> None:
        while chunk := os.read(reading, 1 << 16):
            found.extend(chunk)

    thread = threading.Thread(target=read)
    thread.start()
    write_to(writing)(text)
    os.close(writing)
    thread.join()
    os.close(reading)
    assert found == text


def test_a_descriptor_that_nobody_reads_any_more_is_no_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    write_to(writing)(b"to nobody")
    os.close(writing)


def test_a_forked_child_writes_lines_of_its_own_only() -> None:
    reading, writing = os.pipe()
    writer = LineWriter(write_to(writing), lambda _: (), lambda: False)
    writer.put(b"parent\n")
    writer.flush()
    child = os.fork()
    if child == 0:
        writer.put(b"child\n")
        os._exit(0 if writer.flush() else 1)
    assert os.waitpid(child, 0)[1] == 0
    writer.close()
    os.close(writing)
    with os.fdopen(reading, "rb") as found:
        assert found.read() == b"parent\nchild\n"
