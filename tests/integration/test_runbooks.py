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


def test_a_document_that_no_page_shows_is_named_without_a_link() -> None:
    page = member("viewer").get("/monitor/runbooks/redis-down/").content.decode()
    assert "<a>Redis</a>" in page


def test_what_is_written_is_set_as_text_lists_and_commands() -> None:
    page = member("viewer").get("/monitor/runbooks/redis-down/").content.decode()
    assert "<h2>What to do</h2>\n<ol>\n<li>" in page
    assert '<code class="language-console">$ redis ping\n' in page
    assert "**" not in page


@pytest.mark.parametrize("name", ["none", "..%2f..%2fredis", "MEMORY"])
def test_what_is_no_runbook_is_not_found(name: str) -> None:
    assert member("viewer").get(f"/monitor/runbooks/{name}/").status_code == 404


def test_nobody_else_reads_them() -> None:
    answer = Client().get("/monitor/runbooks/memory/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/login/?next=/monitor/runbooks/memory/")
