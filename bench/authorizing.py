"""What authorization by policy adds to the bundled broker's produce path.

    python -m bench.authorizing

Produce requests of one small batch go through the broker's dispatch in this process, without sockets: without an
authorizer, with ACLs, and with IAM policies (decisions are kept for some seconds, so most are looked up). Microseconds
a request, the best of many rounds in turn.
"""

from __future__ import annotations

import asyncio
import io
import struct
import time
from typing import Any

from kio.index import load_request_schema
from kio.serial import entity_writer

from broker.cluster import Cluster
from broker.dispatch import dispatch
from broker.iam.store import Accounts, CredentialStore, Identity
from broker.node import ConnectionState
from broker.security.acls import Acl
from broker.security.policy_authorizer import PolicyAuthorizer
from broker.security.resources import Operation, PatternType, Permission, ResourceType
from tests.support.rawclient import batch, make

ALICE = "arn:aws:iam::123456789012:user/alice"
CLUSTER = "arn:aws:kafka:us-east-1:123456789012:cluster/one/uuid"
REQUESTS, ROUNDS = 400, 15
PRODUCE, VERSION = 0, 9


def _frame() -> bytes:
    schema = load_request_schema(PRODUCE, VERSION)
    rows = [{"name": "orders", "partition_data": [{"index": 0, "records": batch([b"x" * 1000])}]}]
    buffer = io.BytesIO()
    entity_writer(schema)(buffer, make(schema, {"acks": -1, "timeout": 1000, "topic_data": rows}))
    return struct.pack(">hhih", PRODUCE, VERSION, 1, 5) + b"bench" + b"\0" + buffer.getvalue()


async def _microseconds(cluster: Cluster, principal: str, frame: bytes) -> float:
    node = cluster.nodes[0]
    state = ConnectionState(node.listeners[0], client_host="127.0.0.1", principal=principal)
    began = time.thread_time()
    for _ in range(REQUESTS):
        await dispatch(node, state, frame)
    return (time.thread_time() - began) / REQUESTS * 1e6


def _with_policies() -> Cluster:
    cluster = Cluster()
    statement = {
        "Effect": "Allow",
        "Action": ["kafka-cluster:WriteData", "kafka-cluster:DescribeTopic"],
        "Resource": "*",
    }
    alice = Identity(arn=ALICE, policies=({"Version": "2012-10-17", "Statement": [statement]},))
    store = CredentialStore(accounts=Accounts(identities=(alice,)))
    cluster.authorizer = PolicyAuthorizer(store, CLUSTER, None, cluster.clock.monotonic)
    return cluster


def _with_acls() -> Cluster:
    cluster = Cluster(authorizer="acl")
    user = "User:alice"
    cluster.acls.create(
        [Acl(ResourceType.TOPIC, "orders", PatternType.LITERAL, user, "*", Operation.WRITE, Permission.ALLOW)]
    )
    return cluster


async def measure() -> dict[str, float]:
    """By way of authorizing: microseconds a request."""
    worlds: dict[str, tuple[Cluster, str]] = {
        "nothing": (Cluster(), "User:ANONYMOUS"),
        "ACLs": (_with_acls(), "User:alice"),
        "IAM policies": (_with_policies(), f"User:{ALICE}"),
    }
    frame = _frame()
    best: dict[str, float] = {}
    for cluster, _ in worlds.values():
        await cluster.start()
        cluster.create_topic("orders", 1, 1)
    for _ in range(ROUNDS):
        for name, (cluster, principal) in worlds.items():
            spent = await _microseconds(cluster, principal, frame)
            best[name] = min(spent, best.get(name, spent))
    ends: dict[str, Any] = {name: cluster.log("orders", 0).log_end_offset for name, (cluster, _) in worlds.items()}
    for cluster, _ in worlds.values():
        await cluster.stop()
    if set(ends.values()) != {ROUNDS * REQUESTS}:
        raise SystemExit(f"not everything was written: {ends}")
    return best


def main() -> None:
    """Print the figures."""
    best = asyncio.run(measure())
    for name, spent in best.items():
        print(f"{name}: {spent:.1f} us a request, {spent / best['nothing'] * 100 - 100:+.1f} %")


if __name__ == "__main__":
    main()
