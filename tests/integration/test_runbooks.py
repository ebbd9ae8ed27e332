"""Runbooks as pages of the monitor."""

from __future__ import annotations

from html import unescape

import pytest
from django.test import Client

from monitoring.shipped import SHIPPED
from tests.integration.admin_parts import member, shown

pytestmark = pytest.mark.django_db


def test_every_shipped_rule_has_its_page_for_staff() -> None:
    viewer = member("viewer")
    for rule in SHIPPED:
        assert rule.summary in unescape(shown(viewer.get(f"/monitor/runbooks/{rule.name}/")))


def test_a_page_leads_to_the_runbooks_that_it_names() -> None:
    page = member("viewer").get("/monitor/runbooks/feed-silent/").content.decode()
    assert '<a href="/monitor/runbooks/no-feed-process/">no-feed-process</a>' in page


def test_a_sentence_is_wrapped_by_the_browser_and_commands_are_not() -> None:
    page = member("viewer").get("/monitor/runbooks/overload/").content.decode()
    assert "step 3: connections of low priority" in page
    assert "```console\n$ curl" in page


@pytest.mark.parametrize("name", ["none", "..%2f..%2fredis", "MEMORY"])
def test_what_is_no_runbook_is_not_found(name: str) -> None:
    assert member("viewer").get(f"/monitor/runbooks/{name}/").status_code == 404


def test_nobody_else_reads_them() -> None:
    answer = Client().get("/monitor/runbooks/memory/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/login/?next=/monitor/runbooks/memory/")
