"""The kernel floor: a process that does nothing but write the same bytes to the same number of sockets as often as Tickwire did.

`python -m benchmarks.floor CLIENTS BYTES PERIOD_S`; prints its port, greets everybody, writes until it is ended.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time

ONE = b'{"type":"update","topic":"trade.S0000","seq":1,"data":{"symbol":"S0000","price":"274.84","size":"8","side":"buy"}}'


def main(clients: int, size: int, period_s: float) -> None:
    """Write for ever."""
    payload = (ONE * (size // len(ONE) + 1))[:size]
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        print(server.getsockname()[1], flush=True)
        socks = [_greet(server) for _ in range(clients)]
    at = time.perf_counter()
    while True:
        for sock in socks:
            with contextlib.suppress(BlockingIOError):
                sock.send(payload)
        at = max(at + period_s, time.perf_counter() - period_s)
        time.sleep(max(0.0, at - time.perf_counter()))


def _greet(server: socket.socket) -> socket.socket:
    sock, _ = server.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    sock.setblocking(False)
    return sock


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
