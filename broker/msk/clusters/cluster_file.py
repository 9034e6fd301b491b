"""What a record means for the cluster's process: the file of `replicator-broker run --file` (`broker.cluster_file`)."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from broker.msk.clusters.addresses import SHARED
from broker.msk.clusters.listeners import listeners
from broker.msk.clusters.names import host
from broker.msk.records import ClusterRecord
from broker.security.scram_store import SCRAM_SHA_512, keys_of_password

CONTROL_USER = "__amazon_msk_control_plane"  # logs in on the loopback listener below, for the topics API
CONTROL_LISTENER = "CONTROL_PLANE"
CONTROL_PORT = 9090
JMX_PORT, NODE_PORT = 11001, 11002
POLICY_FILE = "cluster-policy.json"
NODES_OF_SERVERLESS = 3


def defaults(record: ClusterRecord) -> dict[str, str]:
    """MSK's default configuration, as far as it means something to the bundled broker.

    Source: AWS developer guide, "Default Amazon MSK configuration".
    """
    zones = len({node.zone for node in record.nodes})
    copies = str(min(3, len(record.nodes)) if zones != 2 else 2)
    return {
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": "2" if zones >= 3 and len(record.nodes) >= 3 else "1",
        "num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",  # MSK waits 3 s; here nobody starts a hundred consumers at once
        "unclean.leader.election.enable": "false",
        "allow.everyone.if.no.acl.found": "true",
    }


def render(
    record: ClusterRecord,
    *,
    directory: Path,
    certificate: tuple[Path, Path],
    authority: Path,
    credentials: Path,
    properties: Mapping[str, str],
    users: Mapping[str, str],
    control_password: str,
    resolves: Callable[[str, str], bool],
) -> dict[str, Any]:
    """The cluster file. `users` are SCRAM users and their passwords, which don't get into it; `resolves` says whether
    a host name has an address."""
    named = resolves_all(record, resolves)
    own = record.nodes[0].address != SHARED  # where brokers share an address, they take free ports
    config = defaults(record) | dict(properties)
    config["super.users"] = f"User:{CONTROL_USER}"
    out = []
    for spec in listeners(record):
        entry: dict[str, Any] = {"name": spec.name, "port": spec.port if own else 0, "protocol": spec.protocol}
        if spec.mechanisms:
            entry["mechanisms"] = list(spec.mechanisms)
        if spec.client_certificates != "none":
            entry["client_certificates"] = spec.client_certificates
        if named:
            entry["advertised_hosts"] = {str(node.id): host(record, node, spec.infix) for node in record.nodes}
        out.append(entry)
    out.append(
        {
            "name": CONTROL_LISTENER,
            "port": CONTROL_PORT if own else 0,
            "protocol": "SASL_PLAINTEXT",
            "mechanisms": ["SCRAM-SHA-512"],
        }
    )
    exporters = _exporters(record)
    return ({"metrics": exporters} if exporters else {}) | {
        "data": str(directory / "data"),
        "control": "127.0.0.1:0",
        "nodes": [{"id": node.id, "host": node.address, "rack": node.zone} for node in record.nodes],
        "listeners": out,
        "tls": {"cert": str(certificate[0]), "key": str(certificate[1]), "ca": str(authority)},
        "iam": {
            "region": record.region,
            "account": record.account,
            "cluster_arn": record.arn,
            "credentials": str(credentials),
            "cluster_policy": str(directory / POLICY_FILE),
        },
        "scram_users": {
            name: _scram_entry(name, password) for name, password in {**users, CONTROL_USER: control_password}.items()
        },
        "tags": record.tags,
        "acl_when_no_iam": True,
        "config": config,
    }


@lru_cache(maxsize=4096)
def _scram_entry(user: str, password: str) -> dict[str, Any]:
    """By user, too: equal passwords don't show."""
    keys = keys_of_password(SCRAM_SHA_512, password, secrets.token_bytes(16))
    parts = {"salt": keys.salt, "stored_key": keys.stored_key, "server_key": keys.server_key}
    entry: dict[str, Any] = {name: b64encode(part).decode() for name, part in parts.items()}
    return {"keys": {"SCRAM-SHA-512": entry | {"iterations": keys.iterations}}}


def _exporters(record: ClusterRecord) -> dict[str, int | None] | None:
    """Open monitoring's exporters on each broker, with MSK's ports."""
    prometheus = ((record.provisioned or {}).get("openMonitoring") or {}).get("prometheus") or {}
    jmx = (prometheus.get("jmxExporter") or {}).get("enabledInBroker")
    node = (prometheus.get("nodeExporter") or {}).get("enabledInBroker")
    if not (jmx or node):
        return None
    own = record.nodes[0].address != SHARED
    return {"jmx_port": JMX_PORT if own else 0, "node_port": (NODE_PORT if own else 0) if node else None}


def resolves_all(record: ClusterRecord, resolves: Callable[[str, str], bool]) -> bool:
    """Whether all host names of a cluster have their addresses on this machine, so that clients can be told names."""
    return all(
        resolves(host(record, node, spec.infix), node.address) for node in record.nodes for spec in listeners(record)
    )
