"""The benchmark's HTTP clients: what they count, whatever the answers are cut into."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.asking import Asking, request

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
BAD = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


@contextmanager
def answering(*answers: bytes, cut: int = 1000) -> Iterator[int]:
    """A server that gives each connection these answers, one a request, in pieces, and then closes it."""

    def serve(sock: socket.socket) -> None:
        with sock:
            for answer in answers:
                if not sock.recv(1000):
                    return
                for at in range(0, len(answer), cut):
                    sock.sendall(answer[at : at + cut])

    def accept(server: socket.socket) -> None:
        while True:
            try:
                serve(server.accept()[0])
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, args=(server,))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_answers_are_counted_wherever_reads_cut_them(cut: int) -> None:
    with answering(GOOD, BAD, GOOD, cut=cut) as port:
        asking = Asking(port, [request("/", X_Header="1")], 1)
        answers = asking.run(most=3)
        asking.close()
    assert (answers.count, answers.refused, len(answers.latencies_ms)) == (2, 1, 3)
    assert (answers.received_bytes, asking.last) == (2 * len(GOOD) + len(BAD), GOOD)


def test_a_server_that_goes_away_is_no_answer() -> None:
    with answering(GOOD) as port:
        asking = Asking(port, [request("/")], 1)
        with pytest.raises(ConnectionError):
            asking.run(most=2)
        asking.close()


def test_a_request_names_its_headers() -> None:
    assert request("/x", Some_Header="y") == b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nSome-Header: y\r\n\r\n"
