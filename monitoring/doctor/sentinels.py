"""The Sentinels: reachable, of one mind about the master, and enough of them to fail over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from marketdata.addresses import Service, service
from monitoring.doctor.findings import Finding, fail, ok, warn
from monitoring.masks import masked

WAIT_S = 2.0
FEWEST = 3


@dataclass(frozen=True)
class SentinelFacts:
    """What one Sentinel says.

    Attributes:
        name: its host and port.
        error: why it could not be asked; empty where it could.
        master: host and port of the master in its eyes.
        replicas: how many it knows.
        quorum_error: what it says to `CKQUORUM`; empty where a failover would find its majority.
    """

    name: str
    error: str = ""
    master: str = ""
    replicas: int = 0
    quorum_error: str = ""


def ask(url: str) -> list[SentinelFacts]:
    """Ask each Sentinel of an address."""
    found = service(url)
    return [_ask_one(found, host, port) for host, port in found.sentinels]


def _ask_one(found: Service, host: str, port: int) -> SentinelFacts:
    name = f"{host}:{port}"
    client: Any = redis.Redis(
        host, port, username=found.sentinel_username, password=found.sentinel_password, ssl=found.tls,
        socket_timeout=WAIT_S, socket_connect_timeout=WAIT_S, retry=Retry(NoBackoff(), 0),
    )  # fmt: skip
    try:
        with client:
            state = client.execute_command("SENTINEL MASTER", found.name)
            master = f"{state['ip']}:{state['port']}"
            return SentinelFacts(name, "", master, int(state["num-slaves"]), _quorum_error(client, found.name))
    except (redis.RedisError, OSError, KeyError) as error:
        return SentinelFacts(name, error=masked(str(error) or type(error).__name__).rstrip("."))


def _quorum_error(client: Any, name: str) -> str:
    try:
        client.execute_command("SENTINEL CKQUORUM", name)
    except redis.ResponseError as error:
        return str(error)
    return ""


def check(facts: Sequence[SentinelFacts]) -> Iterator[Finding]:
    """Judge what they said."""
    reached = [each for each in facts if not each.error]
    for each in facts:
        if each.error:
            yield warn(
                "sentinel",
                f"Sentinel {each.name} cannot be asked: {each.error}.",
                f"start it, or take {each.name} out of the address",
            )
    if not reached:
        yield fail("sentinels", "No Sentinel answers: nobody knows the master.", "correct TICKWIRE_REDIS_URL (docs/redis.md)")
        return
    yield _number(len(facts))
    yield _agreement(reached)
    yield _quorum(reached)
    yield _replicas(reached)


def _number(named: int) -> Finding:
    if named < FEWEST:
        says = f"The address names {named} of the Sentinels: when those are away, nobody can be asked."
        return warn("sentinels", says, "name three or more in TICKWIRE_REDIS_URL")
    return ok("sentinels", f"The address names {named} Sentinels.")


def _agreement(reached: Sequence[SentinelFacts]) -> Finding:
    masters = sorted({each.master for each in reached})
    if len(masters) > 1:
        fix = "SENTINEL RESET the service on those that are wrong"
        return fail("sentinel master", f"The Sentinels disagree about the master: {', '.join(masters)}.", fix)
    return ok("sentinel master", f"All Sentinels that answer have {masters[0]} as master.")


def _quorum(reached: Sequence[SentinelFacts]) -> Finding:
    if bad := next((each for each in reached if each.quorum_error), None):
        fix = "start the missing Sentinels, or lower the quorum"
        return fail("sentinel quorum", f"A failover would not find its majority: {bad.quorum_error}.", fix)
    return ok("sentinel quorum", "A failover would find its majority.")


def _replicas(reached: Sequence[SentinelFacts]) -> Finding:
    if not min(each.replicas for each in reached):
        return fail("sentinel replicas", "There is no replica to fail over to.", "REPLICAOF the master on a second server")
    return ok("sentinel replicas", "There is a replica to fail over to.")
