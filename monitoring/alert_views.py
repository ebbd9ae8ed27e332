"""REST for staff about alerting: rules, notifiers, and what fired.

Rules of this file:
1. Reading is for staff; writing also needs the permission that the admin asks for, and so does a test message.
2. What is wrong with a body is told by field, in `details.fields`.
3. No answer has a notifier's address in it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from django.db import transaction
from django.db.models import Model
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from marketdata import journal
from marketdata.database import answering
from marketdata.endpoint import Endpoint, asked_in_body
from monitoring.alert_serializers import (
    Alerts,
    AlertShown,
    Attempt,
    Change,
    NotifierSerializer,
    RuleSerializer,
    Tested,
    Told,
    us,
)
from monitoring.deliveries import outgoing
from monitoring.models import Alert, AlertRule, Delivery, Notifier
from realtime.auth import IsStaff
from realtime.codes import Code, CodedError
from realtime.operations import check_may, in_json

View = TypeVar("View", bound=Callable[..., Any])

MOST = 200
RULE = {
    "id": 7, "name": "loop-lag", "summary": "An event loop is late.", "metric": "tickwire_event_loop_lag_max_seconds",
    "labels": {"role": "web"}, "aggregation": "max", "per": "", "quantile": None, "window_seconds": 300, "comparison": ">",
    "threshold": 0.25, "for_seconds": 60, "clear_seconds": 15, "missing": "hold", "severity": "warning",
    "notifiers": ["operators"], "escalate_seconds": None, "escalation_notifiers": [],
    "runbook": "docs/operations/runbooks/loop-lag.md", "enabled": True, "silenced_until": None,
}  # fmt: skip
NEW_RULE = {"name": "crowded", "metric": "tickwire_connections", "threshold": 9000, "aggregation": "sum", "for_seconds": 60}
NOTIFIER = {"id": 3, "name": "operators", "address": "slack://••••••", "enabled": True}
NEW_NOTIFIER = {"name": "operators", "url": "json://hooks.example.com/alerts", "enabled": True}
ALERT = {
    "id": 41, "rule": "feed-silent", "severity": "critical", "labels": {"feed": "demo"}, "state": "resolved",
    "since": 1731672090123456, "began_at": 1731672000123456, "resolved_at": 1731672090123456, "value": 0.1, "escalations": 0,
    "runbook": "docs/operations/runbooks/feed-silent.md",
    "history": [
        {"state": "firing", "at": 1731672000123456, "value": 2.4}, {"state": "resolved", "at": 1731672090123456, "value": 0.1},
    ],
    "told": [
        {
            "notifier": "operators", "event": "firing", "state": "sent",
            "attempts": [{"at": 1731672000223456, "took_ms": 81, "error": ""}],
        },
    ],
}  # fmt: skip
ALL_RULES = inline_serializer("AlertRules", {"rules": RuleSerializer(many=True)})
ALL_NOTIFIERS = inline_serializer("Notifiers", {"notifiers": NotifierSerializer(many=True)})


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which alerts; empty: any."""

    state: Literal["", "pending", "firing", "resolved"] = ""
    severity: Literal["", "critical", "warning", "info"] = ""
    rule: Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")] = ""
    limit: int = MOST


def written(serializer: serializers.ModelSerializer[Any]) -> Any:
    """The row that was asked for.

    Raises:
        CodedError: something is wrong; each field's flaws are in its details.
    """
    if not serializer.is_valid():
        fields = {str(name): [str(each) for each in texts] for name, texts in serializer.errors.items()}
        name, texts = next(iter(fields.items()))
        raise CodedError(Code.BAD_REQUEST, f"{name}: {texts[0]}", details={"fields": fields})
    with transaction.atomic():
        return serializer.save()


class _Rows(Endpoint):
    """All rows of a model."""

    permission_classes = [IsStaff]
    model: type[Model]
    serializer: type[Any]
    key = ""

    def _list(self) -> Response:
        with answering():
            return Response({self.key: self.serializer(self.model._default_manager.all(), many=True).data})

    def _add(self, request: Request) -> Response:
        check_may(request, f"monitoring.add_{self.model._meta.model_name}")
        with answering():
            return Response(self.serializer(written(self.serializer(data=asked_in_body(dict, request)))).data, status=201)


class _Row(Endpoint):
    """One row of a model."""

    permission_classes = [IsStaff]
    model: type[Model]
    serializer: type[Any]

    def _show(self, pk: int) -> Response:
        with answering():
            return Response(self.serializer(get_object_or_404(self.model, pk=pk)).data)

    def _change(self, request: Request, pk: int) -> Response:
        check_may(request, f"monitoring.change_{self.model._meta.model_name}")
        with answering():
            row = get_object_or_404(self.model, pk=pk)
            return Response(self.serializer(written(self.serializer(row, data=asked_in_body(dict, request), partial=True))).data)

    def _delete(self, request: Request, pk: int) -> HttpResponse:
        check_may(request, f"monitoring.delete_{self.model._meta.model_name}")
        with answering():
            get_object_or_404(self.model, pk=pk).delete()
        return HttpResponse(status=204)


def _described(
    name: str,
    summary: str,
    answer: Any,
    example: Any,
    *,
    request: Any = None,
    asked: Any = None,
    status: int = 200,
) -> Callable[[View], View]:
    """Describe one endpoint: what it answers and, where there is a body, what is asked, each with an example."""
    examples = [OpenApiExample("answer", example, response_only=True, status_codes=[str(status)])]
    if request is not None:
        examples.append(OpenApiExample("request", asked, request_only=True))
    responses = {status: OpenApiResponse(answer, summary)}
    return extend_schema(operation_id=name, summary=summary, request=request, responses=responses, examples=examples)


class RulesView(_Rows):
    """The alert rules."""

    model, serializer, key = AlertRule, RuleSerializer, "rules"

    @_described("alert_rules", "Alert rules, by name", ALL_RULES, {"rules": [RULE]})
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """All of them."""
        return self._list()

    @_described(
        "add_alert_rule",
        "Add an alert rule",
        RuleSerializer,
        RULE | {"id": 8},
        request=RuleSerializer,
        asked=NEW_RULE,
        status=201,
    )
    def post(self, request: Request) -> Response:
        """With the permission `monitoring.add_alertrule`."""
        return self._add(request)


class RuleView(_Row):
    """One alert rule."""

    model, serializer = AlertRule, RuleSerializer

    @_described("alert_rule", "An alert rule", RuleSerializer, RULE)
    def get(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """As it is."""
        return self._show(pk)

    @_described(
        "change_alert_rule", "Change an alert rule, or silence it", RuleSerializer, RULE,
        request=RuleSerializer, asked={"silenced_until": 1731675600000000},
    )  # fmt: skip
    def patch(self, request: Request, pk: int) -> Response:
        """With the permission `monitoring.change_alertrule`. Fields that are not named stay."""
        return self._change(request, pk)

    @extend_schema(operation_id="delete_alert_rule", summary="Delete an alert rule; its alerts end", responses={204: None})
    def delete(self, request: Request, pk: int) -> HttpResponse:
        """With the permission `monitoring.delete_alertrule`."""
        return self._delete(request, pk)


class NotifiersView(_Rows):
    """The notifiers."""

    model, serializer, key = Notifier, NotifierSerializer, "notifiers"

    @_described("notifiers", "Who is told of alerts", ALL_NOTIFIERS, {"notifiers": [NOTIFIER]})
    def get(self, request: Request) -> Response:  # noqa: ARG002
        """All of them, without their addresses."""
        return self._list()

    @_described(
        "add_notifier", "Add a notifier by its Apprise address, which nobody can read again", NotifierSerializer, NOTIFIER,
        request=NotifierSerializer, asked=NEW_NOTIFIER, status=201,
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """With the permission `monitoring.add_notifier`."""
        return self._add(request)


class NotifierView(_Row):
    """One notifier."""

    model, serializer = Notifier, NotifierSerializer

    @_described("notifier", "A notifier", NotifierSerializer, NOTIFIER)
    def get(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Without its address."""
        return self._show(pk)

    @_described(
        "change_notifier", "Change a notifier", NotifierSerializer, NOTIFIER, request=NotifierSerializer, asked={"enabled": False}
    )
    def patch(self, request: Request, pk: int) -> Response:
        """With the permission `monitoring.change_notifier`. Fields that are not named stay."""
        return self._change(request, pk)

    @extend_schema(operation_id="delete_notifier", summary="Delete a notifier", responses={204: None})
    def delete(self, request: Request, pk: int) -> HttpResponse:
        """With the permission `monitoring.delete_notifier`."""
        return self._delete(request, pk)


class NotifierTestView(Endpoint):
    """A test message."""

    permission_classes = [IsStaff]

    @_described("test_notifier", "Send a test message to a notifier", Tested, {"ok": True, "error": ""})
    def post(self, request: Request, pk: int) -> HttpResponse:
        """With the permission `monitoring.test_notifier`; the answer comes when the message was taken, or was not in time."""
        check_may(request, "monitoring.test_notifier")
        with answering():
            notifier = get_object_or_404(Notifier, pk=pk)
            journal.note("test", "notifier", notifier.name, key=notifier.pk)
        error = outgoing.test(notifier)
        return in_json(Tested(not error, error))


class AlertsView(Endpoint):
    """What fires, and what did."""

    permission_classes = [IsStaff]

    @extend_schema(
        operation_id="alerts",
        summary="Alerts with their history and who was told, the newest first",
        parameters=[
            OpenApiParameter("state", str, enum=["pending", "firing", "resolved"]),
            OpenApiParameter("severity", str, enum=["critical", "warning", "info"]),
            OpenApiParameter("rule", str, description="of that name"),
            OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST}, description="rows at most"),
        ],
        responses=OpenApiResponse(Alerts, "those that fit"),
        examples=[OpenApiExample("answer", {"alerts": [ALERT]})],
    )
    def get(self, request: Request) -> HttpResponse:
        """Those that fit all filters."""
        try:
            asked = msgspec.convert(request.query_params.dict(), Asked, strict=False)
        except msgspec.ValidationError as failure:
            raise ParseError(str(failure)) from None
        if not 1 <= asked.limit <= MOST:
            raise ParseError(f"limit: from 1 to {MOST}")
        wanted = {"state": asked.state, "severity": asked.severity, "name": asked.rule}
        with answering():
            rows = Alert.objects.filter(**{name: value for name, value in wanted.items() if value})
            shown = [_shown(row) for row in rows.select_related("rule").prefetch_related("deliveries")[: asked.limit]]
        return in_json(Alerts(shown))


def _shown(row: Alert) -> AlertShown:
    return AlertShown(
        id=row.pk,
        rule=row.name,
        severity=row.severity,
        labels=row.labels,
        state=row.state,
        since=us(row.since),
        began_at=us(row.began_at),
        resolved_at=us(row.resolved_at) if row.resolved_at else None,
        value=row.value,
        escalations=row.escalations,
        runbook=row.rule.runbook if row.rule else "",
        history=[Change(each["state"], _us(each["at"]), each["value"]) for each in row.history],
        told=[_told(each) for each in sorted(row.deliveries.all(), key=lambda each: each.pk)],
    )


def _told(row: Delivery) -> Told:
    attempts = [Attempt(_us(each["at"]), each["took_ms"], each["error"]) for each in row.attempts]
    return Told(row.name, row.event, row.state, attempts)


def _us(text: str) -> int:
    return us(datetime.fromisoformat(text))
