"""How visitors' bytes come here: by https through a proxy, or not at all from another machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

HSTS_S = 365 * 24 * 3600  # for so long a browser that came by https once will not come by http
BEHIND_THE_PROXY = [r"^health/", r"^metrics/?$"]  # asked by machines beside the server, which speak plain http

# What `check --deploy` asks for only where visitors come from other machines: HSTS, the redirect, cookies for https only.
_NEEDS_VISITORS = ["security.W004", "security.W008", "security.W012", "security.W016"]
# HSTS for all subdomains and the browsers' built-in list: promises of the whole domain, of which this server is one name.
# Whoever owns it gives them at the proxy, whose header wins.
_NOT_OURS_TO_PROMISE = ["security.W005", "security.W021"]


def silenced(allowed_hosts: Sequence[str], *, https: bool) -> list[str]:
    """The checks of `manage.py check --deploy` that say nothing about this copy.

    Where requests may name this machine's loopback names only, no bytes cross a wire: there is nobody to keep them from, and no
    certificate for such a name. With any other name and without https they must appear.
    """
    if https:
        return _NOT_OURS_TO_PROMISE
    return _NEEDS_VISITORS if _is_for_this_machine_alone(allowed_hosts) else []


def _is_for_this_machine_alone(allowed_hosts: Sequence[str]) -> bool:
    return bool(allowed_hosts) and all(map(_is_loopback, allowed_hosts))


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
