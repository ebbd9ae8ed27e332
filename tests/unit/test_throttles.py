"""Buckets of REST requests: one a holder, in bounded memory."""

from __future__ import annotations

from realtime.throttles import Requests


def test_a_burst_passes_and_the_next_waits() -> None:
    requests = Requests()
    taken = [requests.take("ada", 2.0, 3, 0.0) for _ in range(4)]
    assert [each.wait_s for each in taken] == [0.0, 0.0, 0.0, 0.5]
    assert [each.left for each in taken] == [2, 1, 0, 0]
    assert [each.full_s for each in taken] == [0.5, 1.0, 1.5, 1.5]


def test_one_holders_requests_are_not_anothers() -> None:
    requests = Requests()
    assert requests.take("ada", 1.0, 1, 0.0).wait_s == 0.0
    assert requests.take("bob", 1.0, 1, 0.0).wait_s == 0.0


def test_a_plan_that_changed_holds_from_the_next_request_on() -> None:
    requests = Requests()
    requests.take("ada", 1.0, 1, 0.0)
    assert requests.take("ada", 10.0, 100, 0.5).left == 4
    assert requests.take("ada", 1.0, 2, 0.5).left == 1


def test_holders_beyond_the_bound_are_forgotten_the_idlest_first() -> None:
    requests = Requests(most=2)
    for holder in ("ada", "bob", "ada", "eve"):
        requests.take(holder, 1.0, 10, 0.0)
    assert len(requests) == 2
    assert requests.take("ada", 1.0, 10, 0.0).left == 7
