"""What drf-spectacular must be told: how one authenticates, what structs and bodies look like, and what an error is."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import Direction
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from marketdata.ticks import Depth, Kline, Quote, Ticker, Trade
from realtime.codes import Code

REF = "#/components/schemas/{name}"
EXAMPLES = {  # what the API page begins with, by (place, name)
    ("path", "symbol"): "AAPL",
    ("path", "topic"): "quote.AAPL",
    ("query", "topic"): "quote.AAPL",
    ("query", "topics"): "quote.AAPL,kline.1m.BTC-USDT",
    ("query", "symbols"): "AAPL,BTC-USDT",
}
TAGS = {  # in this order: what most come for, first
    "instruments": "what is listed",
    "snapshots": "latest values of any topics",
    "quotes": "best bid and ask",
    "tickers": "the session so far",
    "depth": "order books",
    "trades": "the latest, newest first",
    "klines": "bars, stored and open",
    "topics": "updates by their numbers",
    "me": "who you are, what you may, what you used",
    "keys": "your API keys",
    "auth": "tickets for sockets",
    "ingest": "ticks from outside",
    "nodes": "where to connect",
    "admin": "for staff: the running installation",
}


class DocsView(SpectacularSwaggerSplitView):
    """The API page; its script is an answer of its own, so that the page needs none within."""

    schema = None

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Without the header that leaves a hold on the page to windows that open it, for a login that we do not have."""
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response.headers.pop("Cross-Origin-Opener-Policy", None)
        return response


class SchemaView(SpectacularAPIView):
    """The description itself. It is everybody's and never changes, so it is made once: that takes a quarter of a second."""

    schema = None

    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:  # noqa: ARG002
        """As YAML, or as JSON where the client prefers it or `format=json` asks for it."""
        renderer = request.accepted_renderer
        kind = f"{renderer.media_type}; charset={renderer.charset}" if renderer.charset else renderer.media_type
        disposition = f'inline; filename="tickwire.{renderer.format}"'
        return HttpResponse(_described(renderer.format), content_type=kind, headers={"Content-Disposition": disposition})


@cache
def _described(form: str) -> bytes:
    renderer = next(one for one in SchemaView.renderer_classes if one.format == form)
    described: Any = renderer().render(SchemaGenerator().get_schema(public=True))  # type: ignore[no-untyped-call]
    return bytes(described)


urlpatterns = [
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", DocsView.as_view(url_name="schema"), name="docs"),
]


class CredentialScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """API key or session."""

    target_class = "realtime.auth.RestAuthentication"
    name = ["apiKey", "session"]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:  # noqa: ARG002
        """One definition per name."""
        return [
            {"type": "http", "scheme": "bearer", "description": "An API key (`manage.py issue_key`), or a signed token (JWT)."},
            {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
        ]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:  # noqa: ARG002
        """Either of them, or neither where the anonymous plan suffices."""
        return [{name: []} for name in self.name] + [{}]


class StructSchema(OpenApiSerializerExtension):
    """Describes an answer by the very struct that is encoded."""

    target_class = "msgspec.Struct"
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: Direction) -> str:  # noqa: ARG002
        """The struct's own name."""
        return str(self.target.__name__)

    def get_identity(self, auto_schema: AutoSchema, direction: Direction) -> str:  # noqa: ARG002
        """The name again: it may come from a struct of its own or from within another."""
        return str(self.target.__name__)

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:  # noqa: ARG002
        """The struct's schema; those of the structs within become components."""
        _, components = msgspec.json.schema_components((self.target,), ref_template=REF)
        for schema in components.values():  # a summary will do: attributes have their own descriptions
            schema["description"] = schema.get("description", "").partition("\n\n")[0]
        own: dict[str, Any] = components.pop(self.target.__name__)
        for name, schema in components.items():
            component = ResolvedComponent(name, ResolvedComponent.SCHEMA, schema, name)  # type: ignore[no-untyped-call]
            auto_schema.registry.register_on_missing(component)
        return own


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:  # noqa: ARG001
    """Add the bodies' schemas, and to every operation the error answer and what is true of all (a hook of drf-spectacular)."""
    result["components"]["schemas"] |= {**_bodies(), "Error": _error()}
    result["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    refused = {"description": "refused", "content": {"application/json": {"schema": {"$ref": REF.format(name="Error")}}}}
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"] = refused
            operation.get("requestBody", {})["required"] = True
            for parameter in operation.get("parameters", []):
                if (example := EXAMPLES.get((parameter["in"], parameter["name"]))) is not None:
                    parameter["example"] = example
    return result


def _bodies() -> dict[str, Any]:
    """The ticks as they travel in `data`: without their type, and open to fields of later versions."""
    _, components = msgspec.json.schema_components((Quote, Trade, Depth, Ticker, Kline), ref_template=REF)
    for schema in components.values():
        if "properties" in schema:
            schema["properties"].pop("type")
            schema["required"].remove("type")
            schema.pop("additionalProperties")
    return components


def _error() -> dict[str, Any]:
    example = {"code": 120, "name": "unknown_symbol", "message": "there is no instrument 'NOPE'", "temporary": False}
    return {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": list(example),
                "properties": {
                    "code": {"enum": [int(code) for code in Code]},
                    "name": {"enum": [code.label for code in Code]},
                    "message": {"type": "string", "description": "for a person"},
                    "temporary": {"type": "boolean", "description": "the same request may succeed later"},
                    "details": {"type": "object"},
                },
                "examples": [example],
            }
        },
    }
