"""The keys that tokens are signed with: when the source is asked, and what happens while it does not answer."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from realtime import jwks as module
from realtime.jwks import KeySet, KeysUnavailable, read_keys, reader
from tests.unit.signing import jwks


class Source:
    """Tells keys, counts how often it is asked, fails on demand, and has a clock."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked = 0
        self.broken = False
        self.now = 1000.0
        self.keys = KeySet(self.read, lambda: self.now)

    def read(self) -> bytes:
        self.asked += 1
        if self.broken:
            raise OSError("no route to host")
        return jwks(*self.names)


def test_keys_are_asked_for_once() -> None:
    source = Source("one", "two")
    assert source.keys.find("one") is not source.keys.find("two")
    assert source.asked == 1


def test_an_unknown_key_has_the_source_asked_again_once_a_minute_at_most() -> None:
    source = Source("one")
    assert source.keys.find("one") is not None
    source.names = ("one", "two")
    assert [source.keys.find("two") for _ in range(100)] == [None] * 100
    assert source.asked == 1
    source.now += 60
    assert source.keys.find("two") is not None
    assert source.asked == 2


def test_a_key_that_left_the_source_is_believed_no_longer_after_a_while() -> None:
    source = Source("one", "two")
    assert source.keys.find("two") is not None
    source.names = ("one",)
    source.now += 600
    assert source.keys.find("two") is None


def test_known_keys_stay_in_use_while_the_source_is_away(caplog: pytest.LogCaptureFixture) -> None:
    source = Source("one")
    assert source.keys.find("one") is not None
    source.broken = True
    for _ in range(10):
        source.now += 600
        assert source.keys.find("one") is not None
    assert (source.keys.outage.failures, len(caplog.records)) == (10, 1)
    assert "no route to host" in caplog.text


def test_while_the_source_is_away_nobody_can_tell_of_unknown_keys() -> None:
    source = Source("one")
    source.broken = True
    for _ in range(10):
        with pytest.raises(KeysUnavailable):
            source.keys.find("one")
    assert source.asked == 1
    source.broken, source.now = False, source.now + 5
    assert source.keys.find("one") is not None


def asking(source: Source) -> None:
    with suppress(KeysUnavailable):
        source.keys.find("one")


def test_of_many_only_the_first_waits_for_a_source_that_is_away() -> None:
    source = Source("one")
    source.broken = True
    with pytest.raises(KeysUnavailable):
        source.keys.find("one")
    entered, leave = threading.Event(), threading.Event()

    def hang() -> bytes:
        entered.set()
        leave.wait(5)
        raise OSError("no answer")

    source.keys._read, source.now = hang, source.now + 5
    thread = threading.Thread(target=asking, args=(source,))
    thread.start()
    assert entered.wait(5)
    with pytest.raises(KeysUnavailable):
        source.keys.find("one")
    assert not leave.is_set()
    leave.set()
    thread.join()


def test_a_source_that_loses_its_keys_is_one_that_does_not_answer() -> None:
    source = Source("one")
    source.keys.find("one")
    source.names, source.now = (), source.now + 600
    assert source.keys.find("one") is not None
    assert source.keys.outage.ongoing


def test_a_token_that_names_no_key_means_the_only_one() -> None:
    assert Source("one").keys.find(None) is not None
    assert Source("one", "two").keys.find(None) is None


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"keys":7}', b'{"keys":[]}', b'{"keys":["x"]}', b'{"keys":[{"kty":"RSA"}]}', b"\xff"]
)
def test_what_is_no_jwks_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError):
        read_keys(document)


@pytest.mark.parametrize("change", [{"use": "enc"}, {"alg": "RS512"}, {"kty": "oct", "k": "c2VjcmV0"}])
def test_keys_for_something_else_are_not_taken(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="no RSA key"):
        read_keys(jwks("one", **change))


def test_a_weak_key_is_refused() -> None:
    weak = json.loads(jwks("one"))
    weak["keys"][0]["n"] = weak["keys"][0]["n"][:170]
    with pytest.raises(ValueError, match="2048"):
        read_keys(json.dumps(weak).encode())


def test_a_file_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_bytes(jwks("one"))
    assert KeySet(reader(str(tmp_path / "keys.json"))).find("one") is not None


class Address(http.server.BaseHTTPRequestHandler):
    """Serves keys at one path, and what else a source may do at others."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/keys")
            self.end_headers()
            return
        self.send_response(200 if self.path in ("/keys", "/large", "/slow") else 404)
        self.end_headers()
        if self.path == "/slow":
            with suppress(OSError):  # whoever asked has gone
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.01)
        self.wfile.write(b" " * (module.MOST_BYTES + 1) if self.path == "/large" else jwks("one"))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Address)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_is_a_source(address: str) -> None:
    assert KeySet(reader(f"{address}/keys")).find("one") is not None


@pytest.mark.parametrize("path", ["/moved", "/nothing", "/large"])
def test_an_address_that_moved_fails_or_answers_too_much_is_away(address: str, path: str) -> None:
    keys = KeySet(reader(address + path))
    with pytest.raises(KeysUnavailable):
        keys.find("one")
    assert keys.outage.failures == 1


def test_an_address_that_says_a_byte_now_and_then_is_away(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE_S", 0.1)
    keys = KeySet(reader(f"{address}/slow"))
    with pytest.raises(KeysUnavailable):
        keys.find("one")
    assert keys.outage.failures == 1


def test_an_address_where_nobody_is_is_away() -> None:
    with pytest.raises(KeysUnavailable):
        KeySet(reader("http://127.0.0.1:9/keys")).find("one")
