"""What staff may read about the running server."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from asgiref.sync import async_to_sync
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from marketdata import database
from marketdata.endpoint import Endpoint
from marketdata.feed_status import FeedStatus, feed_statuses
from marketdata.views import reads
from monitoring.queries import queries
from monitoring.registry import store
from monitoring.watch import watches
from realtime.auth import IsStaff
from realtime.guesses import guesses
from realtime.logins import logins
from realtime.node import VERSION
from realtime.throttles import requests
from realtime.trials import trials
from realtime.usage import sums


class StatsView(Endpoint):
    """Counters of the process that answers."""

    permission_classes = [IsStaff]

    @extend_schema(
        summary="Statistics of the process that answers",
        responses=inline_serializer(
            "Stats",
            {
                "node": serializers.CharField(),
                "version": serializers.CharField(),
                "uptime_s": serializers.FloatField(),
                "canary_age_s": serializers.FloatField(allow_null=True),
                "bus_reconnects": serializers.IntegerField(),
                "database_queries": serializers.IntegerField(),
                "counts": serializers.DictField(child=serializers.IntegerField()),
                "deaths": serializers.DictField(child=serializers.IntegerField()),
                "refused": serializers.DictField(child=serializers.IntegerField()),
                "trials": serializers.DictField(child=serializers.IntegerField()),
                "usage": serializers.DictField(child=serializers.IntegerField()),
                "breakers": serializers.DictField(child=serializers.DictField()),
            },
        ),
    )
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Answer from memory."""
        return Response(async_to_sync(_stats)())


async def _stats() -> dict[str, Any]:
    canary = (await watches.here()).canary
    node = canary.node
    return {
        "node": node.name,
        "version": VERSION,
        "uptime_s": round(time.time() - node.started_us / 1e6, 3),
        "canary_age_s": canary.age_s,
        "bus_reconnects": node.hub.bus.reconnects,
        "database_queries": queries.sent,
        "counts": node.hub.stats(),
        "deaths": {task.name: task.deaths for task in (*node.keeper.tasks, canary.task)},
        "refused": {"requests": requests.refused, "credentials": guesses.refused, "logins": logins.refused},
        "trials": trials.counts(),
        "usage": {"waiting": len(sums), "lost": sums.lost, "failures": node.meter.outage.failures},
        "breakers": {
            "rest": reads().breaker.stats(),
            "commands": node.store.breaker.stats(),
            "joins": node.hub.joins.stats(),
            "database": database.breaker.stats(),
        },
    }


class Feeds(msgspec.Struct):
    """State of each feed, by name."""

    feeds: list[FeedStatus]


class FeedsView(Endpoint):
    """State of each feed, wherever it runs."""

    permission_classes = [IsStaff]

    @extend_schema(
        summary="State of each feed",
        responses=Feeds,
    )
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """Answer from what the feeds' processes noted in Redis."""
        return Response({"feeds": [msgspec.to_builtins(status) for status in feed_statuses(store())]})
