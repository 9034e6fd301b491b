"""Kafka's numbered errors, and what each means for us.

Source: `org.apache.kafka.common.protocol.Errors`. `retriable`: the same request may succeed later.
`invalid_metadata`: look for the partition's leader again first.
"""

from __future__ import annotations

from replicator.errors import ReplicatorError

UNKNOWN_SERVER_ERROR = -1
NONE = 0
OFFSET_OUT_OF_RANGE = 1
CORRUPT_MESSAGE = 2
UNKNOWN_TOPIC_OR_PARTITION = 3
LEADER_NOT_AVAILABLE = 5
NOT_LEADER_OR_FOLLOWER = 6
REQUEST_TIMED_OUT = 7
REPLICA_NOT_AVAILABLE = 9
MESSAGE_TOO_LARGE = 10
NETWORK_EXCEPTION = 13
COORDINATOR_LOAD_IN_PROGRESS = 14
COORDINATOR_NOT_AVAILABLE = 15
NOT_COORDINATOR = 16
UNKNOWN_MEMBER_ID = 25
REBALANCE_IN_PROGRESS = 27
NOT_ENOUGH_REPLICAS = 19
NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
RECORD_LIST_TOO_LARGE = 18
TOPIC_AUTHORIZATION_FAILED = 29
GROUP_AUTHORIZATION_FAILED = 30
CLUSTER_AUTHORIZATION_FAILED = 31
INVALID_TIMESTAMP = 32
UNSUPPORTED_SASL_MECHANISM = 33
UNSUPPORTED_VERSION = 35
OUT_OF_ORDER_SEQUENCE_NUMBER = 45
DUPLICATE_SEQUENCE_NUMBER = 46
INVALID_PRODUCER_EPOCH = 47
INVALID_TXN_STATE = 48
INVALID_PRODUCER_ID_MAPPING = 49
TRANSACTION_COORDINATOR_FENCED = 52
TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
SASL_AUTHENTICATION_FAILED = 58
SECURITY_DISABLED = 54
UNKNOWN_PRODUCER_ID = 59
NON_EMPTY_GROUP = 68
GROUP_ID_NOT_FOUND = 69
FETCH_SESSION_ID_NOT_FOUND = 70
INVALID_FETCH_SESSION_EPOCH = 71
FENCED_LEADER_EPOCH = 74
UNKNOWN_LEADER_EPOCH = 75
UNSUPPORTED_COMPRESSION_TYPE = 76
INVALID_RECORD = 87
UNSTABLE_OFFSET_COMMIT = 88
PRODUCER_FENCED = 90
UNKNOWN_TOPIC_ID = 100
INCONSISTENT_TOPIC_ID = 103
FETCH_SESSION_TOPIC_ID_ERROR = 106
TRANSACTION_ABORTABLE = 120

_NAMES = {code: name for name, code in list(globals().items()) if isinstance(code, int)}
_NAMES.update(
    {
        8: "BROKER_NOT_AVAILABLE",
        17: "INVALID_TOPIC_EXCEPTION", 19: "NOT_ENOUGH_REPLICAS",
        21: "INVALID_REQUIRED_ACKS", 34: "ILLEGAL_SASL_STATE",
        41: "NOT_CONTROLLER", 42: "INVALID_REQUEST", 43: "UNSUPPORTED_FOR_MESSAGE_FORMAT", 44: "POLICY_VIOLATION",
        50: "INVALID_TRANSACTION_TIMEOUT",
        51: "CONCURRENT_TRANSACTIONS",
        55: "OPERATION_NOT_ATTEMPTED", 56: "KAFKA_STORAGE_ERROR", 65: "DELEGATION_TOKEN_AUTHORIZATION_FAILED",
        72: "LISTENER_NOT_FOUND", 73: "TOPIC_DELETION_DISABLED", 78: "OFFSET_NOT_AVAILABLE",
        80: "PREFERRED_LEADER_NOT_AVAILABLE", 89: "THROTTLING_QUOTA_EXCEEDED",
        105: "TRANSACTIONAL_ID_NOT_FOUND",
    }
)  # fmt: skip

_INVALID_METADATA = frozenset({3, 5, 6, 8, 9, 13, 56, 72, 74, 75, 100, 103})
_RETRIABLE = _INVALID_METADATA | {-1, 7, 14, 15, 16, 19, 20, 41, 51, 70, 71, 78, 80, 88, 89, 106}
AUTHORIZATION = frozenset({29, 30, 31, 53, 65})


class BrokerError(ReplicatorError):
    """A broker answered with an error code; `code`, `name`, `retriable` and `invalid_metadata` say which kind."""

    def __init__(self, code: int, context: str = "", message: str = "") -> None:
        self.code = code
        self.name = error_name(code)
        self.invalid_metadata = code in _INVALID_METADATA
        self.broker_message = message
        said = f": {message}" if message else ""
        super().__init__(f"{context + ': ' if context else ''}{self.name} ({code}){said}")
        self.retriable = code in _RETRIABLE


def error_name(code: int) -> str:
    """Kafka's name of an error code; codes newer than this table read as `ERROR_<code>`."""
    return _NAMES.get(code, f"ERROR_{code}")


def is_retriable(code: int) -> bool:
    """Whether the same request may succeed later without anybody doing anything."""
    return code in _RETRIABLE


def is_invalid_metadata(code: int) -> bool:
    """Whether the partition's leader should be looked up again before the next try."""
    return code in _INVALID_METADATA
