"""CloudWatch's dashboards and alarms: valid, of metrics that there are, and taken by a stand-in for CloudWatch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import yaml
from cfnlint.api import lint_all

from broker.metrics import msk as brokers
from dashboards.__main__ import CLOUDWATCH
from dashboards.for_cloudwatch import cloudwatch_files
from replicator.telemetry import msk_metrics as msk
from tests.support.aws import stand_in

TEMPLATES = ("replicator.yaml", "cluster.yaml")
BODIES = ("replicator.json", "cluster.json")
Named = tuple[str, frozenset[str], str]  # metric, dimensions, statistic

OFFERED = {
    **{(m.name, frozenset(names)): {m.statistic} for m in msk.MSK_METRICS for names in m.dimensions},
    **{(m.name, frozenset(m.dimensions)): {"Average", "Maximum"} for m in brokers.METRICS},
}
_SEARCH = re.compile(r"SEARCH\('\{([^}]*)\} MetricName=\"(\w+)\" ([^']*)', '(\w+)', 60\)")


def named_by(body: Any) -> Iterator[Named]:
    """Every metric of a dashboard's body."""
    for widget in body["widgets"]:
        for row in widget["properties"]["metrics"]:
            if isinstance(row[0], str):
                _, name, *dimensions, options = row
                yield name, frozenset(dimensions[::2]), options["stat"]
                continue
            found = _SEARCH.search(row[0]["expression"])
            assert found is not None, row
            names = [part.strip('"') for part in found[1].split(",")[1:]]
            assert re.match(r'"?([\w ]+?)"?="', found[3])[1] in names  # type: ignore[index]
            yield found[2], frozenset(names), found[4]


def template(name: str) -> Any:
    return yaml.safe_load((CLOUDWATCH / name).read_text())


def mistakes(text: str) -> list[str]:
    """What cfn-lint calls errors and warnings; the rest is advice."""
    return [f"{each.rule.id} {each.message}" for each in lint_all(text) if each.rule.id[0] in "EW"]


def filled_in(text: str, **values: str) -> str:
    """As Fn::Sub does."""
    known = {"AWS::Region": "us-east-1", "AWS::StackName": "s"} | values
    text = re.sub(r"\$\{(?!!)([\w:]+)\}", lambda match: known[match[1]], text)
    return text.replace("${!", "${")


def body_of(name: str) -> Any:
    made = template(name)
    text = made["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    return json.loads(filled_in(text, **dict.fromkeys(made["Parameters"], "x")))


def resolved(value: Any) -> Any:
    """A parameter's value for each reference to it."""
    if isinstance(value, dict):
        return (
            5
            if "Threshold" in value.get("Ref", "")
            else "x"
            if "Ref" in value
            else {k: resolved(v) for k, v in value.items()}
        )
    return [resolved(item) for item in value] if isinstance(value, list) else value


def alarms() -> list[Any]:
    resources = [each for name in TEMPLATES for each in template(name)["Resources"].values()]
    return [each["Properties"] for each in resources if each["Type"] == "AWS::CloudWatch::Alarm"]


def test_given_the_files_then_they_are_made_from_their_source() -> None:
    assert {path.name for path in CLOUDWATCH.iterdir()} == {*TEMPLATES, *BODIES}
    for name, content in cloudwatch_files().items():
        assert (CLOUDWATCH / name).read_text() == content, "run: python -m dashboards"


@pytest.mark.parametrize("name", TEMPLATES)
def test_given_a_template_then_cloudformations_schemas_find_nothing_wrong(name: str) -> None:
    assert mistakes((CLOUDWATCH / name).read_text()) == []


def test_given_a_template_that_is_wrong_then_that_is_found() -> None:
    broken = (CLOUDWATCH / "cluster.yaml").read_text().replace("ComparisonOperator", "ComparisonOperation", 1)
    assert mistakes(broken) != []


def test_given_dashboards_and_alarms_then_every_metric_is_one_that_is_published_with_these_dimensions() -> None:
    named = [each for name in BODIES for each in named_by(json.loads((CLOUDWATCH / name).read_text()))]
    named += [each for name in TEMPLATES for each in named_by(body_of(name))]
    for alarm in alarms():
        dimensions = frozenset(each["Name"] for each in alarm["Dimensions"])
        named.append((alarm["MetricName"], dimensions, alarm["Statistic"]))
    assert len(named) > 50
    wrong = [each for each in named if each[2] not in OFFERED.get(each[:2], set())]
    assert wrong == []
    on_dashboards = {name for name, _, _ in named}
    same = {msk.FAILURES.name}  # another name of ReplicatorFailure
    assert {metric.name for metric in msk.MSK_METRICS} - on_dashboards == same


def test_given_a_metric_that_nobody_publishes_then_the_check_finds_it() -> None:
    body = json.loads((CLOUDWATCH / "replicator.json").read_text().replace("MessageLag", "MessageLog"))
    assert [each[0] for each in named_by(body) if each[:2] not in OFFERED] == ["MessageLog", "MessageLog"]


def test_given_the_alarms_then_what_people_wake_up_for_is_among_them_and_each_says_why() -> None:
    assert {"ReplicationLatency", "MessageLag", "ReplicatorFailure", "AuthError", "KafkaClusterPingSuccessCount",
            "ConsumerGroupOffsetSyncFailure"} <= {alarm["MetricName"] for alarm in alarms()}  # fmt: skip
    assert [alarm for alarm in alarms() if not alarm["AlarmDescription"].endswith(".")] == []
    silent = {alarm["MetricName"]: alarm["TreatMissingData"] for alarm in alarms()}
    assert silent["KafkaClusterPingSuccessCount"] == "breaching"  # nobody publishes any more
    assert silent["ReplicationLatency"] == "notBreaching"  # nothing to copy


def test_given_cloudwatch_then_it_takes_dashboards_and_alarms() -> None:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    with stand_in() as url:
        client = boto3.client("cloudwatch", endpoint_url=url, **keys)
        for name in BODIES:
            text = (CLOUDWATCH / name).read_text()
            answer = client.put_dashboard(DashboardName=name.partition(".")[0], DashboardBody=text)
            assert answer.get("DashboardValidationMessages", []) == []
        for name in TEMPLATES:
            client.put_dashboard(DashboardName=f"of-{name.partition('.')[0]}", DashboardBody=json.dumps(body_of(name)))
        assert len(client.list_dashboards()["DashboardEntries"]) == 4
        for number, alarm in enumerate(alarms()):
            settings = {key: resolved(value) for key, value in alarm.items() if not key.endswith("Actions")}
            client.put_metric_alarm(AlarmName=f"alarm-{number}", **settings)
        made = client.describe_alarms()["MetricAlarms"]
        assert {alarm["MetricName"] for alarm in made} == {alarm["MetricName"] for alarm in alarms()}
