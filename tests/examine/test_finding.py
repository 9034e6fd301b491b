"""Findings as they go over the wire and come back."""

from __future__ import annotations

import json

import pytest

from replicator.examine.finding import Finding, Level, as_json, of_configuration, ok, problem, warning

FOUND = [
    *of_configuration(["service.http: in clear"]),
    ok("cluster us", "reached"),
    warning("cluster eu", "far", "why", "next"),
    problem("cluster eu", "cluster eu: away", exit_code=3, command="start it"),
]


def test_given_findings_when_they_come_back_from_json_then_they_are_the_same() -> None:
    sent = json.loads(json.dumps(as_json(FOUND)))
    assert [Finding.of(row) for row in sent["findings"]] == FOUND
    assert sent["findings"][3]["what"] == "away"
    assert Finding.of({**sent["findings"][1], "of a newer release": 1}) == ok("cluster us", "reached")


@pytest.mark.parametrize(("count", "fine"), [(0, True), (3, True), (4, False)])
def test_given_findings_then_it_is_ok_unless_one_has_an_exit_code(count: int, fine: bool) -> None:
    assert as_json(FOUND[:count])["ok"] is fine
    assert [each.level for each in FOUND[:1]] == [Level.WARNING]
