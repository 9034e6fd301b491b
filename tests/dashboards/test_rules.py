"""Prometheus' own tool accepts the rules and every panel's query, and the rules' own tests pass."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from typer.core import TyperGroup
from typer.main import get_command

from replicator.cli.main import app
from replicator.states import Reason
from tests.dashboards.files import RULES, RULES_TEST, filled_in, queries, rules, tool


def promtool(*arguments: str) -> str:
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_given_the_rules_then_promtool_finds_nothing_wrong() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(RULES))


def test_given_the_rules_when_their_tests_are_run_then_each_alert_fires_as_it_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(RULES_TEST))


def test_given_the_rules_then_each_alert_is_tested_both_ways_and_each_recording_once() -> None:
    fires, silent, recorded = set(), set(), set()
    for scene in yaml.safe_load(RULES_TEST.read_text())["tests"]:
        for case in scene.get("alert_rule_test", ()):
            (fires if case["exp_alerts"] else silent).add(case["alertname"])
        recorded |= {case["expr"] for case in scene.get("promql_expr_test", ())}
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert fires == alerts
    assert silent == alerts
    assert {rule["record"] for rule in rules() if "record" in rule} <= recorded


def test_given_panels_then_promtool_can_read_each_query(tmp_path: Path) -> None:
    named = [{"record": f"panel:{n}", "expr": filled_in(q.text)} for n, q in enumerate(queries())]
    file = tmp_path / "panels.yml"
    groups: dict[str, Any] = {"groups": [{"name": "panels", "rules": named}]}
    file.write_text(yaml.safe_dump(groups))
    assert f"{len(named)} rules found" in promtool("check", "rules", "--lint=none", str(file))


def test_given_texts_of_alerts_then_the_commands_in_them_are_ones_that_there_are() -> None:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    texts = " ".join(text for rule in rules() for text in rule.get("annotations", {}).values())
    found = re.findall(r"`replicator (.*?)`", re.sub(r"{{.*?}}", "x", texts))
    assert len(found) > 5
    for command in found:
        verb, *arguments = command.split()
        root.commands[verb].make_context(verb, arguments)  # raises for what it doesn't know


def test_given_stopped_partitions_then_the_critical_alert_is_for_those_that_wait_for_a_person() -> None:
    by_name = {rule["alert"]: rule["expr"] for rule in rules() if "alert" in rule}
    waiting = {reason.value for reason in Reason if not reason.heals}
    for alert in ("ReplicatorPartitionsNeedDecision", "ReplicatorPartitionsFaulted"):
        match = re.search(r'reason[=!]~"([^"]+)"', by_name[alert])
        assert match is not None
        assert set(match[1].split("|")) == waiting
