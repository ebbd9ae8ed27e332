"""One setting: how it is declared, read from the environment and refused by name."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marketdata import addresses
from marketdata.spans import read_spans

YES, NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


class BadSetting(Exception):
    """A setting that cannot be used; the message begins with its name."""


def knob(
    env: str,
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    secret: bool = False,
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    """Declare one setting.

    Args:
        env: name of the environment variable; a secret may also come from the file named by `<env>_FILE`.
        default: value when the variable is absent; its type is the setting's type; a list is comma-separated.
        meaning: one sentence for `docs/configuration.md`.
        unit: unit of the value, as written in the documentation.
        low, high: inclusive bounds of a number.
        secret: never shown in a repr; readable from a file.
        check: returns what is wrong with a value, or None.
    """
    metadata = {"env": env, "meaning": meaning, "unit": unit, "low": low, "high": high, "secret": secret, "check": check}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


def scheme(*allowed: str) -> Callable[[str], str | None]:
    """Check: an address of one of these schemes, or nothing."""

    def check(value: str) -> str | None:
        if value and not value.startswith(tuple(f"{name}://" for name in allowed)):
            return "must begin with one of " + ", ".join(f"{name}://" for name in allowed)
        try:
            urlsplit(value).port  # noqa: B018 -- reading it is the check
        except ValueError:  # whose text may hold a part of the password
            return "is not a well-formed address"
        return None

    return check


def one_of(*allowed: str) -> Callable[[str], str | None]:
    """Check: one of these words."""
    return lambda value: None if value in allowed else "must be one of " + ", ".join(allowed)


def off_or_from(least: float) -> Callable[[float], str | None]:
    """Check: 0, which means off, or a number of sense."""
    return lambda value: None if value == 0 or value >= least else f"must be 0 or at least {least:g}"


def name_part(value: str) -> str | None:
    """Check: text that may begin a Redis key and a channel name."""
    return None if re.fullmatch(r"[a-zA-Z0-9_.-]{1,32}", value) else "must be 1 to 32 letters, digits, '_', '.' or '-'"


def networks(texts: list[str]) -> str | None:
    """Check: addresses, and networks as `10.0.0.0/8`. What is none of them would match nothing, in silence."""
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            return f"must be addresses or networks: {error}"
    return None


def json_object(value: str) -> str | None:
    """Check: a JSON object."""
    try:
        return None if isinstance(json.loads(value), dict) else "must be a JSON object"
    except ValueError:
        return "must be a JSON object"


def key_set(value: str) -> str | None:
    """Check: a JWKS file, the address of one that nobody on the way can change, or nothing."""
    if "://" in value:
        return None if _is_safe(value) else "must be a file or an https:// address"
    try:
        listed = json.loads(Path(value).read_bytes())["keys"] if value else []
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (ValueError, LookupError, TypeError):
        return "is no JWKS"
    return None if isinstance(listed, list) else "is no JWKS"


def _is_safe(address: str) -> bool:
    try:
        found = urlsplit(address)
    except ValueError:
        return False
    return bool(found.hostname) and (
        found.scheme == "https" or (found.scheme == "http" and found.hostname in ("localhost", "127.0.0.1", "::1"))
    )


def spans(texts: list[str]) -> str | None:
    """Check: how far back types are kept, as type=updates or type=updates/seconds."""
    try:
        read_spans(texts, 0.0)
    except ValueError as error:
        return str(error)
    return None


def redis_address(value: str) -> str | None:
    """Check: an address of Redis, or nothing."""
    if not addresses.is_service(value):
        return scheme(*addresses.SERVERS, *addresses.SENTINELS)(value)
    try:
        addresses.service(value)
    except ValueError as error:
        return str(error)
    return None


def read_section(kind: type, environ: Mapping[str, str]) -> Any:
    """One section of the settings; what `environ` leaves out has its default."""
    texts = ((item, _text(item, environ)) for item in dataclasses.fields(kind))
    return kind(**{item.name: _value(item, text) for item, text in texts if text is not None})


def _text(item: dataclasses.Field[Any], environ: Mapping[str, str]) -> str | None:
    env = item.metadata["env"]
    path = environ.get(f"{env}_FILE") if item.metadata["secret"] else None
    if path is None:
        return environ.get(env)
    if env in environ:
        raise BadSetting(f"{env}: given twice, as {env} and as {env}_FILE")
    try:
        return Path(path).read_text().strip()
    except (OSError, ValueError) as error:
        raise BadSetting(f"{env}_FILE: {getattr(error, 'strerror', None) or 'is not a text file'}") from None


def _value(item: dataclasses.Field[Any], text: str) -> Any:
    """The value, or BadSetting; its message never repeats the text, which may be a secret."""
    try:
        value = _parse(type(default_of(item)), text)
    except ValueError as error:
        raise BadSetting(f"{item.metadata['env']}: {error}") from None
    if wrong := _wrong(value, item.metadata):
        raise BadSetting(f"{item.metadata['env']}: {wrong}")
    return value


def _wrong(value: Any, metadata: Mapping[str, Any]) -> str | None:
    low, high, check = metadata["low"], metadata["high"], metadata["check"]
    if low is not None and value < low:
        return f"must be at least {low}"
    if high is not None and value > high:
        return f"must be at most {high}"
    return check(value) if check else None


def default_of(item: dataclasses.Field[Any]) -> Any:
    """Default of a setting."""
    return item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default


def _parse(kind: type, text: str) -> Any:
    if kind is bool:
        if text.lower() not in YES | NO:
            raise ValueError("must be true or false")
        return text.lower() in YES
    if kind is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    return _number(kind, text) if kind in (int, float) else text


def _number(kind: type, text: str) -> int | float:
    try:
        value = int(text) if kind is int else float(text)
    except ValueError:
        raise ValueError(f"must be {'a whole number' if kind is int else 'a number'}") from None
    if not math.isfinite(value):
        raise ValueError("must be finite")
    return value
