"""librdkafka's errors as ours: which cluster, what was tried, the probable cause, and the next step."""

from __future__ import annotations

from confluent_kafka import KafkaError

from replicator.errors import (
    AuthenticationError,
    AuthorizationError,
    ReplicatorError,
    UnreachableError,
    UnsupportedVersionError,
    WrongStateError,
)
from replicator.wire.iam import ACTIONS, CLUSTER, GROUP, TOPIC, TRANSACTIONAL_ID, in_iam

_UNREACHABLE = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._RESOLVE,
    KafkaError._WAIT_COORD,
    KafkaError._DESTROY,
    # The client itself has just let go of a broker that left the metadata, or waits for something of it.
    KafkaError._DESTROY_BROKER,
    KafkaError._UNKNOWN_BROKER,
    KafkaError._NODE_UPDATE,
    KafkaError._WAIT_CACHE,
    KafkaError._OUTDATED,
    KafkaError._RETRY,
    KafkaError._INTR,
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.NOT_CONTROLLER,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NETWORK_EXCEPTION,
}
_NO_LEADER = {
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,  # these two of a leader that has just been elected, or restarted
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError._NOENT,  # of ListOffsets: none of the partitions has one, soon after a topic was created for instance
}
_AUTHENTICATION = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
}
_NOT_AUTHORIZED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: TOPIC,
    KafkaError.GROUP_AUTHORIZATION_FAILED: GROUP,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: CLUSTER,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: TRANSACTIONAL_ID,
}
_OPERATIONS = {  # by kind and the first word of what was done
    (TOPIC, "create"): "Create",
    (TOPIC, "add"): "Alter",
    (TOPIC, "delete"): "Delete",
    (TOPIC, "describe"): "Describe",
    (TOPIC, "list"): "Describe",
    (TOPIC, "read"): "Read",
    (GROUP, "describe"): "Describe",
    (GROUP, "read"): "Describe",
    (GROUP, "delete"): "Delete",
    (CLUSTER, "describe"): "Describe",
    (CLUSTER, "create"): "Alter",
    (CLUSTER, "delete"): "Alter",
}
_UNSUPPORTED = {KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE}


def is_of_unused_group(error: KafkaError) -> bool:
    """Whether it can be passed over by a consumer that isn't a member of anything: librdkafka wants a group all the
    same, and looks for its coordinator."""
    return bool(error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED)


class NoLeaderError(UnreachableError):
    """A partition has no leader now: its brokers are down, or it has only just been created."""


class RefusedError(WrongStateError):
    """The cluster understood the request and refused it. `code` is Kafka's error number, `name` its name."""

    def __init__(self, message: str, *, code: int = 0, name: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.name = name


def replicator_error(error: KafkaError, *, cluster: str, action: str, resource: str = "") -> ReplicatorError:
    """The error of our tree that `error` is; `action` reads after "cannot" ("describe topic orders")."""
    code = error.code()
    said = f"cluster {cluster}: cannot {action}: {error.str()} ({error.name()})"
    if code == KafkaError._SSL or code in _AUTHENTICATION:
        return AuthenticationError(
            f"{said}: check the cluster's security settings (protocol, mechanism, credentials, CA)"
        )
    if code in _NOT_AUTHORIZED:
        kind = _NOT_AUTHORIZED[code]
        operation = _OPERATIONS.get((kind, action.split(" ", 1)[0]))
        if action.startswith("describe the settings"):
            operation = "DescribeConfigs"
        elif action.startswith("change the settings"):
            operation = "AlterConfigs"
        iam = f" ({in_iam(kind, operation)})" if (kind, operation) in ACTIONS and operation is not None else ""
        return AuthorizationError(
            f"{said}: grant the principal {operation or 'this operation'} on {kind} {resource}".rstrip() + iam,
            resource=f"{kind} {resource}".rstrip(),
            operation=action.split(" ", 1)[0],
        )
    if code in _UNREACHABLE:
        return UnreachableError(f"{said}: check that bootstrap_servers is right and that its brokers are up")
    if code in _NO_LEADER:
        return NoLeaderError(f"{said}: it has no leader; it is asked again, and waits for its brokers to be up")
    if code in _UNSUPPORTED:
        return UnsupportedVersionError(f"{said}: Apache Kafka 2.8 or later is required")
    return RefusedError(said, code=code, name=error.name())
