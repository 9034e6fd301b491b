"""CloudWatch: dashboards of a link and of a cluster, as bodies of PutDashboard and, with alarms, as CloudFormation.

Metrics are named by the tables that the programs publish by, `replicator.telemetry.msk_metrics` and
`broker.metrics.msk`; the same dashboards and alarms fit MSK Replicator's and MSK's own with the namespace `AWS/Kafka`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import yaml

from broker.metrics import msk as brokers
from dashboards.panels import Json
from replicator.telemetry import msk_metrics as msk
from replicator.telemetry.msk_metrics import MskMetric

PERIOD_S = 60
_WIDTH, _HEIGHT = 12, 6
_EXAMPLES = {  # in the JSON files; a dashboard variable chooses another link, or cluster
    "ReplicatorName": "us-to-eu", "SourceAlias": "us", "TargetAlias": "eu", "Namespace": "Replicator",
    "ClusterName": "my-cluster", "Region": "us-east-1",
}  # fmt: skip
_CLOUDFORMATION = {name: f"${{{name}}}" for name in _EXAMPLES} | {"Region": "${AWS::Region}"}

Names = Mapping[str, str]


def replicator_body(names: Names) -> Json:
    """The dashboard of a link."""
    of_link = [names["Namespace"], "{metric}", msk.REPLICATOR, names["ReplicatorName"]]

    def line(metric: MskMetric, label: str, *more: str) -> list[object]:
        where = [metric.name if text == "{metric}" else text for text in of_link]
        return [*where, *more, {"stat": metric.statistic, "label": label}]

    def clusters(metric: MskMetric) -> list[list[object]]:
        return [line(metric, names[alias], msk.CLUSTER, names[alias]) for alias in ("SourceAlias", "TargetAlias")]

    def topics(metric: MskMetric) -> list[list[object]]:
        dimensions = ",".join((names["Namespace"], msk.REPLICATOR, msk.TOPIC))
        found = f'{{{dimensions}}} MetricName="{metric.name}" {msk.REPLICATOR}="{names["ReplicatorName"]}"'
        search = f"SEARCH('{found}', '{metric.statistic}', {PERIOD_S})"
        return [[{"expression": f"SORT({search}, MAX, DESC, 20)", "label": f"${{PROP('Dim.{msk.TOPIC}')}}"}]]

    return _dashboard(names, ("ReplicatorName", "Link", msk.THROUGHPUT.name), [
        ("Latency: timestamp to readable on the target (ms)", [line(msk.LATENCY, "largest")]),
        ("Records not read yet", [line(msk.MESSAGE_LAG, "records")]),
        ("Throughput (bytes a second)", [line(msk.THROUGHPUT, "written"), line(msk.BYTES_IN, "read")]),
        ("Failures", [line(msk.FAILURE, "partitions stopped"), line(msk.GROUP_FAILURE, "groups not in step")]),
        ("Clusters that answer (1: yes; none: nobody asks)", clusters(msk.PING)),
        ("Refused connections a second", clusters(msk.AUTH_ERROR)),
        ("Throttled by quotas (ms a request)", clusters(msk.THROTTLE_TIME)),
        ("Consumer groups kept in step", [line(msk.GROUPS, "groups")]),
        ("Latency, the 20 worst topics (ms)", topics(msk.LATENCY)),
        ("Records not read yet, the 20 worst topics", topics(msk.MESSAGE_LAG)),
        ("Throughput, the 20 largest topics (bytes a second)", topics(msk.THROUGHPUT)),
    ])  # fmt: skip


def cluster_body(names: Names) -> Json:
    """The dashboard of a cluster's brokers."""
    cluster = names["ClusterName"]

    def whole(name: str, statistic: str) -> list[list[object]]:
        assert (name, (brokers.CLUSTER,)) in brokers.BY_NAME, name
        return [[names["Namespace"], name, brokers.CLUSTER, cluster, {"stat": statistic, "label": name}]]

    def each(name: str, dimensions: tuple[str, ...], statistic: str = "Average") -> list[list[object]]:
        assert (name, dimensions) in brokers.BY_NAME, name
        quoted = ",".join(f'"{dimension}"' for dimension in dimensions)
        found = f'{{{names["Namespace"]},{quoted}}} MetricName="{name}" "{brokers.CLUSTER}"="{cluster}"'
        label = " ".join(f"${{PROP('Dim.{dimension}')}}" for dimension in dimensions[1:])
        return [[{"expression": f"SEARCH('{found}', '{statistic}', {PERIOD_S})", "label": label}]]

    broker = (brokers.CLUSTER, brokers.BROKER)
    topic = (*broker, brokers.TOPIC)
    lag = (brokers.CLUSTER, brokers.GROUP, brokers.TOPIC)
    return _dashboard(names, ("ClusterName", "Cluster", "ActiveControllerCount"), [
        ("Controllers (1 is right)", whole("ActiveControllerCount", "Maximum")),
        ("Partitions without a leader", whole("OfflinePartitionsCount", "Maximum")),
        ("Topics and partitions", whole("GlobalTopicCount", "Maximum") + whole("GlobalPartitionCount", "Maximum")),
        ("Partitions with replicas out of sync", each("UnderReplicatedPartitions", broker, "Maximum")),
        ("Bytes in a second, by broker", each("BytesInPerSec", broker)),
        ("Bytes out a second, by broker", each("BytesOutPerSec", broker)),
        ("Bytes in a second, by topic", each("BytesInPerSec", topic)),
        ("Records in a second, by broker", each("MessagesInPerSec", broker)),
        ("Produce, mean time (ms)", each("ProduceTotalTimeMsMean", broker)),
        ("Connections", each("ConnectionCount", broker)),
        ("CPU of programs (%)", each("CpuUser", broker)),
        ("Disk of the logs used (%)", each("KafkaDataLogsDiskUsed", broker, "Maximum")),
        ("Consumer lag (records)", each("SumOffsetLag", lag, "Maximum")),
        ("Consumer lag (seconds)", each("EstimatedMaxTimeLag", lag, "Maximum")),
    ])  # fmt: skip


def _dashboard(names: Names, variable: tuple[str, str, str], widgets: Sequence[tuple[str, list[list[object]]]]) -> Json:
    made = []
    for index, (title, metrics) in enumerate(widgets):
        made.append({
            "type": "metric", "x": index % 2 * _WIDTH, "y": index // 2 * _HEIGHT, "width": _WIDTH, "height": _HEIGHT,
            "properties": {
                "title": title, "view": "timeSeries", "region": names["Region"], "period": PERIOD_S,
                "metrics": metrics, "yAxis": {"left": {"min": 0}},
            },
        })  # fmt: skip
    name, label, known_by = variable
    dimension = brokers.CLUSTER if name == "ClusterName" else name
    chosen = {
        "type": "pattern", "pattern": names[name], "inputType": "select", "id": name, "label": label,
        "defaultValue": names[name], "visible": True, "populateFrom": dimension,
        "search": f'{{{names["Namespace"]},"{dimension}"}} MetricName="{known_by}"',
    }  # fmt: skip
    return {"start": "-PT3H", "periodOverride": "inherit", "variables": [chosen], "widgets": made}


# ---- CloudFormation


def _alarm(
    about: str, name: str, dimensions: Mapping[str, str], statistic: str, comparison: str, threshold: object,
    *, minutes: int, missing: str,
) -> Json:  # fmt: skip
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmDescription": about,
            "Namespace": {"Ref": "Namespace"},
            "MetricName": name,
            "Dimensions": [{"Name": key, "Value": {"Ref": value}} for key, value in dimensions.items()],
            "Statistic": statistic,
            "Period": PERIOD_S,
            "EvaluationPeriods": minutes,
            "ComparisonOperator": comparison,
            "Threshold": threshold,
            "TreatMissingData": missing,
            "AlarmActions": {"Fn::If": ["HasTopic", [{"Ref": "NotificationTopicArn"}], {"Ref": "AWS::NoValue"}]},
            "OKActions": {"Fn::If": ["HasTopic", [{"Ref": "NotificationTopicArn"}], {"Ref": "AWS::NoValue"}]},
        },
    }


_MORE, _LESS = "GreaterThanThreshold", "LessThanThreshold"
_IDLE, _BAD = "notBreaching", "breaching"


def _of(
    metric: MskMetric, about: str, comparison: str, threshold: object, minutes: int, missing: str, **more: str
) -> Json:
    dimensions = {msk.REPLICATOR: "ReplicatorName"} | more
    return _alarm(
        about, metric.name, dimensions, metric.statistic, comparison, threshold, minutes=minutes, missing=missing
    )


def _replicator_alarms() -> dict[str, Json]:
    alarms = {
        "LatencyAlarm": _of(
            msk.LATENCY, "Records take too long to reach the target.",
            _MORE, {"Ref": "LatencyThresholdMs"}, 5, _IDLE,
        ),
        "LagAlarm": _of(
            msk.MESSAGE_LAG, "Replicator doesn't keep up with the source.",
            _MORE, {"Ref": "LagThresholdRecords"}, 15, "missing",
        ),
        "FailureAlarm": _of(
            msk.FAILURE, "A partition was stopped or held up: replicator status says which, why, and what comes next.",
            _MORE, 0, 1, _IDLE,
        ),
        "GroupAlarm": _of(
            msk.GROUP_FAILURE, "Positions of consumer groups can't be written: replicator groups says which.",
            _MORE, 0, 15, _IDLE,
        ),
    }  # fmt: skip
    for side, alias in (("Source", "SourceAlias"), ("Target", "TargetAlias")):
        lower = side.lower()
        alarms[f"{side}PingAlarm"] = _of(
            msk.PING, f"The {lower} cluster doesn't answer, or no worker of the link runs.",
            _LESS, 1, 3, _BAD, **{msk.CLUSTER: alias},
        )  # fmt: skip
        alarms[f"{side}AuthAlarm"] = _of(
            msk.AUTH_ERROR, f"The {lower} cluster refuses connections because of credentials or TLS.",
            _MORE, 0, 3, _IDLE, **{msk.CLUSTER: alias},
        )  # fmt: skip
        alarms[f"{side}ThrottleAlarm"] = _of(
            msk.THROTTLE_TIME, f"Quotas of the {lower} cluster slow Replicator down.",
            _MORE, 1000, 15, _IDLE, **{msk.CLUSTER: alias},
        )  # fmt: skip
    return alarms


def _cluster_alarms() -> dict[str, Json]:
    cluster = {brokers.CLUSTER: "ClusterName"}
    lag = cluster | {brokers.GROUP: "ConsumerGroup", brokers.TOPIC: "ConsumedTopic"}
    consumer = _alarm(
        "A consumer group is too far behind.", "MaxOffsetLag", lag, "Maximum", _MORE,
        {"Ref": "ConsumerLagThresholdRecords"}, minutes=5, missing="missing",
    )  # fmt: skip
    consumer["Condition"] = "HasGroup"
    return {
        "ControllerAlarm": _alarm(
            "The cluster has no controller.", "ActiveControllerCount", cluster, "Maximum", _LESS, 1,
            minutes=3, missing=_BAD,
        ),
        "OfflineAlarm": _alarm(
            "Partitions have no leader: nobody can write or read them.", "OfflinePartitionsCount", cluster, "Maximum",
            _MORE, 0, minutes=1, missing=_IDLE,
        ),
        "ConsumerLagAlarm": consumer,
    }  # fmt: skip


def _text(about: str, **more: object) -> Json:
    return {"Type": "String", "Description": about} | more


def _number(about: str, default: int) -> Json:
    return {"Type": "Number", "Description": about, "Default": default, "MinValue": 0}


def _template(about: str, parameters: Json, conditions: Json, body: Json, name: str, alarms: dict[str, Json]) -> Json:
    topic = _text("An SNS topic that hears of alarms; none if left empty.", Default="")
    dashboard = {
        "Type": "AWS::CloudWatch::Dashboard",
        "Properties": {
            "DashboardName": {"Fn::Sub": f"${{AWS::StackName}}-{name}"},
            # PROP is CloudWatch's, for legends; `${!` is how CloudFormation leaves it alone.
            "DashboardBody": {"Fn::Sub": json.dumps(body, ensure_ascii=False).replace("${PROP", "${!PROP")},
        },
    }
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": about,
        "Parameters": parameters | {"NotificationTopicArn": topic},
        "Conditions": {"HasTopic": {"Fn::Not": [{"Fn::Equals": [{"Ref": "NotificationTopicArn"}, ""]}]}} | conditions,
        "Resources": {"Dashboard": dashboard} | alarms,
    }


def templates() -> dict[str, Json]:
    """By file name."""
    link = {
        "ReplicatorName": _text("The link's name; with MSK Replicator, the replicator's.", MinLength=1),
        "SourceAlias": _text("The alias of the source cluster.", MinLength=1),
        "TargetAlias": _text("The alias of the target cluster.", MinLength=1),
        "Namespace": _text("service.cloudwatch.namespace; AWS/Kafka for MSK Replicator.", Default="Replicator"),
        "LatencyThresholdMs": _number("Milliseconds that replication may take.", 60_000),
        "LagThresholdRecords": _number("Records that may wait to be read.", 100_000),
    }
    cluster = {
        "ClusterName": _text("The cluster's name.", MinLength=1),
        "Namespace": _text("Where its metrics are; AWS/Kafka for a cluster in MSK.", Default="AWS/Kafka"),
        "ConsumerGroup": _text("A consumer group to watch; none if left empty.", Default=""),
        "ConsumedTopic": _text("The topic that it reads.", Default=""),
        "ConsumerLagThresholdRecords": _number("Records that it may be behind in a partition.", 10_000),
    }
    given = [{"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]} for name in ("ConsumerGroup", "ConsumedTopic")]
    has_group = {"HasGroup": {"Fn::And": given}}
    return {
        "replicator.yaml": _template(
            "Dashboard and alarms of one link of Replicator, or of an MSK Replicator.",
            link, {}, replicator_body(_CLOUDFORMATION), "replicator", _replicator_alarms(),
        ),
        "cluster.yaml": _template(
            "Dashboard and alarms of one MSK cluster, local or not.",
            cluster, has_group, cluster_body(_CLOUDFORMATION), "cluster", _cluster_alarms(),
        ),
    }  # fmt: skip


def cloudwatch_files() -> dict[str, str]:
    """What stands in dashboards/cloudwatch, by file name."""
    bodies = {
        "replicator.json": replicator_body(_EXAMPLES),
        "cluster.json": cluster_body(_EXAMPLES),
    }
    files = {name: json.dumps(body, indent=2, ensure_ascii=False) + "\n" for name, body in bodies.items()}
    note = "# Made by `python -m dashboards`: change dashboards/for_cloudwatch.py instead.\n"
    for name, template in templates().items():
        plain = json.loads(json.dumps(template))  # without objects that occur twice, which YAML would refer to
        files[name] = note + yaml.safe_dump(plain, sort_keys=False, width=120, allow_unicode=True)
    return files
