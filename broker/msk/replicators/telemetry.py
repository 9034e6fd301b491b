"""Where a replicator's metrics and log lines go: only to stand-ins that the control plane's environment names.

Without AWS_ENDPOINT_URL_CLOUDWATCH no metrics are published, and a destination of `logDelivery` gets nothing without
the endpoint of its service: the real ones are never asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.msk.replicators.records import ReplicatorRecord

METRICS = "AWS_ENDPOINT_URL_CLOUDWATCH"
LOGS = {
    "cloudWatchLogs": "AWS_ENDPOINT_URL_LOGS",
    "firehose": "AWS_ENDPOINT_URL_FIREHOSE",
    "s3": "AWS_ENDPOINT_URL_S3",
}


def endpoints(environment: Mapping[str, str]) -> dict[str, str]:
    """Those of the environment that replicators get."""
    return {name: environment[name] for name in (METRICS, *LOGS.values()) if environment.get(name)}


def sections(record: ReplicatorRecord, environment: Mapping[str, str], namespace: str) -> dict[str, Any]:
    """The `cloudwatch` and `log_delivery` of a replicator's `service` section."""
    out: dict[str, Any] = {}
    known = endpoints(environment)
    if METRICS in known:
        out["cloudwatch"] = {"namespace": namespace, "region": record.region, "endpoint_url": known[METRICS]}
    given = (record.log_delivery or {}).get("replicatorLogDelivery") or {}
    wanted = {
        name: destination
        for name, destination in given.items()
        if destination.get("enabled") and LOGS.get(name) in known
    }
    if wanted:
        delivery: dict[str, Any] = {"region": record.region}
        if len(addresses := {known[LOGS[name]] for name in wanted}) == 1:
            delivery["endpoint_url"] = addresses.pop()  # else each client finds its own in the environment
        if "cloudWatchLogs" in wanted:
            delivery["cloudwatch_logs"] = {"log_group": wanted["cloudWatchLogs"]["logGroup"]}
        if "firehose" in wanted:
            delivery["firehose"] = {"delivery_stream": wanted["firehose"]["deliveryStream"]}
        if "s3" in wanted:
            delivery["s3"] = {"bucket": wanted["s3"]["bucket"], "prefix": wanted["s3"].get("prefix", "")}
        out["log_delivery"] = delivery
    return out
