"""What is held in memory tells no secret when it is printed: reprs end in logs, tracebacks and bug reports."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.views.debug import get_default_exception_reporter_filter

from marketdata import addresses, dial
from project.config import load
from realtime import protocol
from realtime.auth import Credentials
from realtime.serializers import IssuedTicket, MadeKey
from realtime.tickets import Tickets
from realtime.tokens import Verifier

SECRET = "hunter2-" * 4
REDIS, SENTINEL = f"redis://me:{SECRET}@bus/0", f"redis+sentinel://me:{SECRET}@bus/ticks?sentinel_password={SECRET}"
KEY = {
    "prefix": "a", "name": "", "can_publish": False, "is_staff": False, "created_at": 0, "expires_at": None,
    "last_used_at": None, "revoked_at": None,
}  # fmt: skip
SETTINGS = {
    "TICKWIRE_SECRET_KEY": SECRET,
    "TICKWIRE_JWT_SECRET": SECRET,
    "TICKWIRE_API_KEY": SECRET,
    "TICKWIRE_REDIS_URL": REDIS,
    "TICKWIRE_BROKER_URL": SENTINEL,
    "TICKWIRE_DATABASE_URL": f"postgresql://me:{SECRET}@db/x",
}
HELD: dict[str, Any] = {
    "the configuration": load(SETTINGS),
    "credentials": Credentials(SECRET, f"Bearer {SECRET}", None, SECRET, "192.0.2.1"),
    "an auth command": protocol.decode(f'{{"op":"auth","token":"{SECRET}"}}'),
    "an issued ticket": IssuedTicket(SECRET, 30),
    "a key that was made": MadeKey(**KEY, key=SECRET),
    "the address of a service": addresses.service(SENTINEL),
    "a client of Redis": dial.client(REDIS, 1.0),
    "a client of Sentinels": dial.client(SENTINEL, 1.0),
    "the pool behind it": dial.client(SENTINEL, 1.0).connection_pool,
    "tickets": Tickets(dial.client(REDIS, 1.0), "tickwire"),
    "the reader of tokens": Verifier(SECRET, None, None, None, 0.0),
}


@pytest.mark.parametrize("what", HELD)
def test_a_repr_tells_no_secret(what: str) -> None:
    assert SECRET not in repr(HELD[what]) + str(HELD[what])


def test_a_refused_auth_command_repeats_no_token() -> None:
    with pytest.raises(protocol.BadCommand) as caught:
        protocol.decode(f'{{"op":"auth","token":{{"{SECRET}":1}}}}')
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHANNEL_LAYERS", {"default": {"CONFIG": {"url": SECRET}}}),
        ("DATABASES", {"default": {"PASSWORD": SECRET}}),
        ("CELERY_BROKER_URL", SECRET),
        ("SECRET_KEY", SECRET),
    ],
)
def test_the_debug_page_tells_no_address(name: str, value: Any) -> None:
    assert hasattr(settings, name)
    assert SECRET not in repr(get_default_exception_reporter_filter().cleanse_setting(name, value))
