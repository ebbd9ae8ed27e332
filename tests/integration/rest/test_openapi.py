"""The description of the API says what the API does."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def schema() -> Any:
    """The whole description; generating it with any warning fails."""
    out = io.StringIO()
    call_command("spectacular", "--format", "openapi-json", "--validate", "--fail-on-warn", stdout=out)
    return json.loads(out.getvalue())


def operations(schema: Any) -> list[tuple[str, Any]]:
    return [
        (f"{method} {path}", operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if "/admin/" not in path
    ]


def test_every_address_of_the_protocol_is_described(schema: Any) -> None:
    base = "/api/v1"
    assert {
        f"{base}/instruments/", f"{base}/instruments/{{symbol}}/", f"{base}/snapshots/", f"{base}/quotes/",
        f"{base}/quotes/{{symbol}}/", f"{base}/tickers/", f"{base}/tickers/{{symbol}}/", f"{base}/depth/{{symbol}}/",
        f"{base}/trades/{{symbol}}/", f"{base}/klines/{{symbol}}/", f"{base}/topics/{{topic}}/history/", f"{base}/ingest/",
        f"{base}/me/", f"{base}/me/limits/", f"{base}/me/usage/", f"{base}/keys/", f"{base}/keys/{{prefix}}/",
    } <= set(schema["paths"])  # fmt: skip


def test_every_operation_has_a_summary_an_answer_with_an_example_and_its_errors(schema: Any) -> None:
    for name, operation in operations(schema):
        (answer,) = (answer for status, answer in operation["responses"].items() if status != "default")
        assert operation["summary"], name
        for body in answer.get("content", {}).values():
            assert body["schema"], name
            assert body["examples"], name
        assert operation["responses"]["default"]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/Error"
        }, name


def test_every_reference_leads_somewhere(schema: Any) -> None:
    text = json.dumps(schema)
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(schema["components"]["schemas"])


def test_bodies_are_described_without_their_type(schema: Any) -> None:
    assert list(schema["components"]["schemas"]["Quote"]["properties"]) == ["symbol", "ts", "bid", "bid_size", "ask", "ask_size"]


def test_reading_needs_no_credential_and_publishing_needs_a_key(schema: Any) -> None:
    assert {} in schema["paths"]["/api/v1/quotes/"]["get"]["security"]
    assert schema["paths"]["/api/v1/ingest/"]["post"]["security"] == [{"apiKey": []}]


def test_the_documentation_is_served_with_its_own_assets(anonymous: Client) -> None:
    assert anonymous.get("/api/schema/").status_code == 200
    page = anonymous.get("/api/docs/").content.decode()
    assert "/static/drf_spectacular_sidecar/swagger-ui-dist/" in page
    assert "cdn" not in page


@pytest.mark.parametrize(
    ("query", "kind"), [("", "application/vnd.oai.openapi; charset=utf-8"), ("?format=json", "application/vnd.oai.openapi+json")]
)
def test_the_description_is_made_once(client: Client, monkeypatch: pytest.MonkeyPatch, query: str, kind: str) -> None:
    first = client.get(f"/api/schema/{query}")
    assert (first.status_code, first["Content-Type"]) == (200, kind)
    monkeypatch.delattr("drf_spectacular.generators.SchemaGenerator.get_schema")
    assert client.get(f"/api/schema/{query}").content == first.content


@pytest.mark.parametrize("query", ["?version=%0A", "?version=%00", "?lang=%00", '?version=a"b'])
def test_what_nobody_asks_of_the_description_changes_nothing(client: Client, query: str) -> None:
    answer = client.get(f"/api/schema/{query}")
    assert (answer.status_code, answer["Content-Disposition"]) == (200, 'inline; filename="tickwire.yaml"')


def test_the_api_page_begins_with_market_data_and_ends_with_the_staffs(schema: Any) -> None:
    shown = [tag["name"] for tag in schema["tags"]]
    assert (shown[0], shown[-1]) == ("instruments", "admin")
    assert {tag for methods in schema["paths"].values() for one in methods.values() for tag in one["tags"]} == set(shown)


def test_what_must_be_asked_has_an_example(schema: Any) -> None:
    for name, operation in operations(schema):
        must = [one for one in operation.get("parameters", []) if one.get("required")]
        assert [one["name"] for one in must if "example" not in one] in ([], ["prefix"]), name
