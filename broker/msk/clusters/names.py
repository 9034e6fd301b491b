"""Host names and zones as MSK has them."""

from __future__ import annotations

import re

from broker.msk.arns import dns_suffix
from broker.msk.records import ClusterRecord, NodeRecord

_DIRECTIONS = {"northeast": "ne", "northwest": "nw", "southeast": "se", "southwest": "sw"}


def domain(record: ClusterRecord) -> str:
    """What the host names of a cluster's brokers end in: name.xxxxxx.c2.kafka.us-east-1.amazonaws.com."""
    service = "kafka-serverless" if record.serverless is not None else "kafka"
    number = record.key.rpartition("-")[2].lstrip("s")
    name = re.sub(r"[^a-z0-9-]", "", record.name.lower())
    head = f"{record.host_part}.c{number}" if record.serverless is not None else f"{name}.{record.host_part}.c{number}"
    return f"{head}.{service}.{record.region}.{dns_suffix(record.region)}"


def host(record: ClusterRecord, node: NodeRecord, infix: str = "") -> str:
    """A broker's host name: b-1.DOMAIN, or b-1.iam.DOMAIN by the infix; a serverless cluster has one name."""
    if record.serverless is not None:
        return f"boot-{domain(record)}"
    return f"b-{node.id}{infix}.{domain(record)}"


def zone(region: str, number: int) -> str:
    """A zone's id, such as use1-az1."""
    parts = region.split("-")
    short = parts[0] + "".join(_DIRECTIONS.get(part, part[0]) for part in parts[1:-1]) + parts[-1]
    return f"{short}-az{number}"
