"""The arithmetic of history: many moments as one."""

from __future__ import annotations

from monitoring.rollups import Moment, combined, stretched


def test_rates_are_averaged_and_of_latencies_the_worst_is_kept() -> None:
    found = combined([{"delivered": 10.0, "latency_p99": 0.2}, {"delivered": 30.0, "latency_p99": 0.1}])
    assert (found["delivered"], found["latency_p99"]) == (20.0, 0.2)


def test_what_is_not_known_does_not_count() -> None:
    found = combined([{"delivered": None}, {"delivered": 4.0}, {}])
    assert (found["delivered"], found["connections"]) == (4.0, None)


def test_moments_are_put_together_at_multiples_of_the_step() -> None:
    moments = [Moment(at, {"connections": float(at)}) for at in (58, 59, 60, 61, 180)]
    assert [(each.at, each.values["connections"]) for each in stretched(moments, 60)] == [(0, 58.5), (60, 60.5), (180, 180.0)]


def test_stretching_twice_is_stretching_once_where_all_moments_are_there() -> None:
    moments = [Moment(at, {"delivered": at % 7.0, "loop_lag": at % 11.0}) for at in range(3600)]
    twice, once = stretched(stretched(moments, 60), 600), stretched(moments, 600)
    assert [each.at for each in twice] == [each.at for each in once]
    assert [each.values["loop_lag"] for each in twice] == [each.values["loop_lag"] for each in once]
    assert all(abs(a.values["delivered"] - b.values["delivered"]) < 1e-5 for a, b in zip(twice, once, strict=True))  # type: ignore[operator]
