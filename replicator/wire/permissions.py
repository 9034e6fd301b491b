"""What the target lets our producers do, asked before anything depends on it; and in which words to ask for more.

Kafka's ACL operations have counterparts among the IAM actions of Amazon MSK; a message names both, since the broker's
refusal doesn't tell which of the two is in force.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from replicator.config.models import ClusterConfig, SecurityConfig
from replicator.errors import AuthorizationError, ReplicatorError
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.connection import QUESTION_TIMEOUT_S, Connection
from replicator.wire.iam import CLUSTER as CLUSTER
from replicator.wire.iam import GROUP as GROUP
from replicator.wire.iam import TOPIC as TOPIC
from replicator.wire.iam import TRANSACTIONAL_ID as TRANSACTIONAL_ID
from replicator.wire.iam import in_iam
from replicator.wire.kafka_errors import BrokerError
from replicator.wire.primitives import NO_TAGS, Reader, compact_array, compact_string
from replicator.wire.producer_id import init_producer_id

DESCRIBE_TRANSACTIONS = 65
SWITCH = "set `delivery: at_least_once`, which needs no transactional ids"

_INVALID_TRANSACTION_TIMEOUT = 50
_ALLOWED = frozenset(  # what is answered once the permission has been looked at, by the coordinator or another broker
    {
        _INVALID_TRANSACTION_TIMEOUT,
        codes.NOT_COORDINATOR,
        codes.COORDINATOR_NOT_AVAILABLE,
        codes.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
_IMPOSSIBLE_TIMEOUT_MS = 2**31 - 1  # far above transaction.max.timeout.ms; refused after the permission is checked
_NAMED = 5  # things that a text names before it says how many more there are
_GRANTED = 5_000  # names in one command: systems take some two million bytes


def principal(security: SecurityConfig) -> str:
    """Who the broker takes us for, as its ACLs say it; `this principal` where only the broker knows."""
    if security.protocol.startswith("SASL_") and security.username:
        return f"User:{security.username}"
    return "User:ANONYMOUS" if security.protocol == "PLAINTEXT" else "this principal"


def how_to_grant(
    resource: str, names: Sequence[str], operations: Sequence[str], security: SecurityConfig, *, prefixed: bool = False
) -> str:
    """`grant Write on … to User:x`, with the IAM actions. `prefixed`: on all that begins with the one name."""
    on = f"{resource}s with the prefix {names[0]}" if prefixed else described(resource, names)
    return f"grant {_and(operations)} on {on} to {principal(security)} ({in_iam(resource, *operations)})"


def grant_command(
    resource: str, names: Sequence[str], operations: Sequence[str], cluster: ClusterConfig, *, prefixed: bool = False
) -> str:
    """The same as a call of Kafka's own tool. Of very many names it takes the first: repeat it for the others."""
    known = principal(cluster.security)
    words = ["kafka-acls.sh", "--bootstrap-server", cluster.bootstrap_servers]
    if cluster.security.protocol != "PLAINTEXT":
        words += ["--command-config", "admin.properties"]
    words += ["--add", "--allow-principal", known if known.startswith("User:") else "User:PRINCIPAL"]
    for operation in operations:
        words += ["--operation", operation]
    switch = "--" + resource.replace(" ", "-")
    if resource == CLUSTER:
        words.append(switch)
    for name in names[:_GRANTED] if resource != CLUSTER else ():
        words += [switch, name]
    return shlex.join([*words, "--resource-pattern-type", "prefixed"] if prefixed else words)


def described(resource: str, names: Sequence[str]) -> str:
    """`the cluster`, `topic a`, `topics a, b`; of many, the first."""
    if resource == CLUSTER:
        return "the cluster"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{resource}{'s' if len(names) > 1 else ''} {', '.join(names[:_NAMED])}{more}"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def probe_id(link: str) -> str:
    """A transactional id as those of the link's lanes, which no lane has: for asking whether it would be allowed."""
    return f"replicator.{link}.0.check.t"


def family(transactional_id: str) -> str:
    """The prefix that covers all transactional ids of the link: `replicator.<link>.`"""
    parts = transactional_id.rsplit(".", 3)
    return parts[0] + "." if len(parts) == 4 else transactional_id


def refused_id(cluster: ClusterClient, transactional_id: str, what: str, operation: str = "Write") -> ReplicatorError:
    """The error for a transactional id that we may not use."""
    step = how_to_grant(
        TRANSACTIONAL_ID, [family(transactional_id)], ("Describe", "Write"), cluster.config.security, prefixed=True
    )
    return AuthorizationError(
        f"cluster {cluster.alias}: {what}: {operation} isn't allowed on {TRANSACTIONAL_ID} {transactional_id}; "
        f"{step}, or {SWITCH}",
        resource=f"{TRANSACTIONAL_ID} {transactional_id}",
        operation=operation,
    )


def refused_idempotence(cluster: ClusterClient) -> ReplicatorError:
    """The error for a principal that gets no producer id."""
    step = how_to_grant(CLUSTER, (), ("IdempotentWrite",), cluster.config.security)
    return AuthorizationError(
        f"cluster {cluster.alias}: IdempotentWrite isn't allowed on the cluster, and Write on no topic; {step}, "
        "or Write on the target topics, which is enough for Kafka 2.8 and newer",
        resource=CLUSTER,
        operation="IdempotentWrite",
    )


async def require_producers(
    alias: str, config: ClusterConfig, client_id: str, transactional_ids: Sequence[str]
) -> None:
    """AuthorizationError if we may not write with these ids; without any, if we may not write idempotently.

    Asks any broker, and for nothing that could be granted: with a transaction timeout that no broker allows.
    ReplicatorError if the cluster doesn't answer.
    """
    cluster = ClusterClient(alias, config, client_id)
    try:
        await _require(cluster, transactional_ids)
    finally:
        await cluster.close()


async def _require(cluster: ClusterClient, transactional_ids: Sequence[str]) -> None:
    connection = await cluster.any_connection()
    if not transactional_ids:
        await _try_init(cluster, connection, None)
    for transactional_id in transactional_ids:
        await _try_init(cluster, connection, transactional_id)
        await _try_describe(cluster, connection, transactional_id)


async def _try_init(cluster: ClusterClient, connection: Connection, transactional_id: str | None) -> None:
    timeout_ms = 60_000 if transactional_id is None else _IMPOSSIBLE_TIMEOUT_MS
    try:
        await init_producer_id(connection, transactional_id, timeout_ms)
    except BrokerError as error:
        if error.code == codes.TRANSACTIONAL_ID_AUTHORIZATION_FAILED and transactional_id is not None:
            raise refused_id(cluster, transactional_id, "InitProducerId") from error
        if error.code == codes.CLUSTER_AUTHORIZATION_FAILED:
            raise refused_idempotence(cluster) from error
        if error.code not in _ALLOWED:
            raise


async def _try_describe(cluster: ClusterClient, connection: Connection, transactional_id: str) -> None:
    if not connection.supports(DESCRIBE_TRANSACTIONS, 0):
        return  # before Kafka 3.0: there Write implies Describe
    body = compact_array([compact_string(transactional_id)]) + NO_TAGS
    reply = Reader(
        await connection.request(DESCRIBE_TRANSACTIONS, 0, [body], flexible=True, timeout_s=QUESTION_TIMEOUT_S)
    )
    reply.int32()
    if reply.compact_array_length() > 0 and reply.int16() == codes.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        raise refused_id(cluster, transactional_id, "DescribeTransactions", "Describe")
