"""Every shipped alert rule has its runbook, its row in the documentation and its twin for Prometheus, and nothing else has."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from monitoring.metrics import METRICS
from monitoring.prometheus_rules import alert_name, document
from monitoring.rules import Rule, flaws
from monitoring.shipped import RUNBOOKS, SHIPPED, condition_text
from tests.house.tree import ROOT

PROMETHEUS = ROOT / "docker" / "prometheus"
HEADINGS = ["What it means", "How to see it", "Likely causes, most likely first", "What to do", "When it is over"]


def name_of(rule: Rule) -> str:
    return rule.name


def test_there_are_twenty_rules_or_more_and_each_can_be_watched():
    assert len({rule.name for rule in SHIPPED}) == len(SHIPPED) >= 20
    watched = [{"metric": rule.metric, "labels": rule.labels, "per": rule.per, "quantile": rule.quantile} for rule in SHIPPED]
    assert [flaws(each) for each in watched if flaws(each)] == []


def test_each_rule_has_its_runbook_and_each_runbook_its_rule():
    assert {path.stem for path in (ROOT / RUNBOOKS).glob("*.md")} == {rule.name for rule in SHIPPED}
    assert [rule.runbook for rule in SHIPPED] == [f"{RUNBOOKS}/{rule.name}.md" for rule in SHIPPED]


@pytest.mark.parametrize("rule", SHIPPED, ids=name_of)
def test_a_runbook_says_when_the_rule_fires_and_what_to_do(rule):
    text = (ROOT / rule.runbook).read_text()
    assert text.startswith(
        f"# {rule.name}\n\n{rule.summary}\n\n**Fires when** {condition_text(rule)}. Severity: {rule.severity}.\n"
    )
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    sections = re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]
    assert all(len(section.split()) >= 4 for section in sections)
    assert all(section.count("\n2. ") or rule.name == "task-deaths" for section in sections[2:4])


@pytest.mark.parametrize("rule", SHIPPED, ids=name_of)
def test_the_metrics_that_a_runbook_names_exist(rule):
    found = set(re.findall(r"tickwire_[a-z_]+", (ROOT / rule.runbook).read_text()))
    assert {re.sub(r"_(bucket|sum)$", "", name) for name in found} <= set(METRICS)


@pytest.mark.parametrize("rule", SHIPPED, ids=name_of)
def test_a_runbook_says_where_a_key_and_redis_client_come_from(rule):
    text = (ROOT / rule.runbook).read_text()
    assert "redis-cli" not in text, "not every address that Tickwire takes is one that it takes"
    needed = " and ".join(name for name, used in (("`$KEY`", "$KEY"), ("`redis`", "$ redis ")) if used in text)
    assert not needed or f"\n{needed}: see [before you need a runbook](../alerts.md#before-you-need-a-runbook).\n" in text


def test_the_documentation_lists_every_rule():
    rows = [line for line in (ROOT / "docs/operations/alerts.md").read_text().splitlines() if "](runbooks/" in line]
    assert rows == [
        f"| [{rule.name}](runbooks/{rule.name}.md) | {rule.severity} | {rule.summary} | {condition_text(rule)} |"
        for rule in SHIPPED
    ]


# Prometheus


def test_the_rules_of_prometheus_are_those_of_the_code():
    assert (PROMETHEUS / "rules.yml").read_text() == document(SHIPPED), "run `make docs`"


def test_each_rule_of_prometheus_has_a_case():
    text = (PROMETHEUS / "rules_test.yml").read_text()
    assert set(re.findall(r"alertname: (\w+)", text)) == {alert_name(rule) for rule in SHIPPED}
    assert text.count("exp_labels") >= len(SHIPPED)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian's package prometheus)")
@pytest.mark.parametrize("command", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")], ids=" ".join)
def test_prometheus_takes_the_rules_and_they_fire(command):
    done = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout + done.stderr
