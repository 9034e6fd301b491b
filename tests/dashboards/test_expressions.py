"""Every expression of the dashboards and rules is made of metrics, labels and words that Replicator has."""

from __future__ import annotations

import re

import pytest

from replicator.states import Reason, State
from replicator.sync.plan import Why
from replicator.telemetry.catalogue import CATALOGUE, PROCESS
from tests.dashboards.files import DASHBOARDS, Query, dashboard, queries, rules
from tests.dashboards.promql import Expression, Selector, parse

SCRAPED = {"job", "instance", "worker"}  # labels that Prometheus adds, or a parent of several workers
METRICS = {
    name: {*metric.labels, *SCRAPED} | ({"le"} if name.endswith("_bucket") else set())
    for metric in (*CATALOGUE, *PROCESS)
    for name in metric.samples
}
WORDS = {
    "reason": {*Reason, *Why},
    "state": {*State, "running", "recovering"},
    "way": {"passed", "rebuilt", "dropped"},
    "result": {"ok", "failed"},
    "syncer": {"topics", "configs", "acls", "groups", "checkpoints", "heartbeats"},
}


def recorded() -> dict[str, set[str]]:
    """The recording rules' names, and the labels that they leave."""
    found = {}
    for rule in rules():
        if "record" in rule:
            result = parse(rule["expr"]).result
            assert result is not None, f"{rule['record']}: without `by`"
            found[rule["record"]] = {*result} - {"le"}
    return found


KNOWN = {**METRICS, **recorded()}


def problems(found: Expression, known: dict[str, set[str]]) -> list[str]:
    """What isn't there, of an expression."""
    wrong = [f"no metric {selector.name}" for selector in found.selectors if selector.name not in known]
    if wrong:
        return wrong
    for selector in found.selectors:
        for label, operator, value in selector.matchers:
            if label not in known[selector.name]:
                wrong.append(f"{selector.name} has no label {label}")
            elif label in WORDS and not value.startswith("$"):
                said = value.split("|") if "~" in operator else [value]
                wrong += [f"{label} is never {word}" for word in said if word not in WORDS[label]]
    for word, labels, scope in found.grouped:
        have = labels_of(scope, known)
        wrong += [f"{word} ({label}): no metric there has it" for label in labels if label not in have]
    return wrong


def labels_of(selectors: list[Selector], known: dict[str, set[str]]) -> set[str]:
    return set().union(*(known[selector.name] for selector in selectors))


QUERIES = list(queries())


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_given_a_panel_then_its_query_uses_only_what_there_is(query: Query) -> None:
    found = parse(query.text)
    assert found.selectors
    assert problems(found, METRICS) == []  # not the recorded ones: dashboards work without the rules
    left = found.result if found.result is not None else labels_of(found.selectors, METRICS)
    assert set(re.findall(r"{{(\w+)}}", query.legend)) <= {*left}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_given_a_rule_then_its_expression_and_texts_use_only_what_there_is(rule: dict[str, str]) -> None:
    found = parse(rule["expr"])
    assert problems(found, KNOWN) == []
    left = found.result if found.result is not None else labels_of(found.selectors, KNOWN)
    for text in dict(rule.get("annotations", {})).values():
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= {*left}


def test_given_variables_of_dashboards_then_they_list_labels_that_there_are() -> None:
    for name in DASHBOARDS:
        for variable in dashboard(name)["templating"]["list"]:
            if variable["type"] == "query":
                match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                assert match is not None
                found = parse(match[1])
                assert problems(found, METRICS) == []
                assert match[2] in METRICS[found.selectors[0].name]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("replicator_recrods_total", "no metric replicator_recrods_total"),
        ('replicator_ready{link="a"}', "replicator_ready has no label link"),
        ('replicator_partitions{state="COPYNG"}', "state is never COPYNG"),
        ('replicator_faulted_partitions{reason=~"CORRUPT_BATCH|X"}', "reason is never X"),
        ("sum by (topic) (replicator_lanes)", "by (topic): no metric there has it"),
    ],
)
def test_given_a_mistake_then_it_is_seen(text: str, problem: str) -> None:
    assert problems(parse(text), METRICS) == [problem]
