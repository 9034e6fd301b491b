"""The exception tree of Replicator.

    ReplicatorError
    ├── ConfigurationError        what the user wrote can't be used: file, line and key        exit code 2
    ├── UnreachableError          no connection to a cluster, or it went away                  exit code 3
    ├── AuthenticationError       the cluster refused our credentials or its own proof failed  exit code 3
    ├── AuthorizationError        the principal may not do this: resource and operation        exit code 3
    ├── WrongStateError           the command doesn't fit the present state                    exit code 4
    ├── ProtocolError             bytes from the network that no Kafka broker sends
    ├── UnsupportedVersionError   the broker doesn't speak a version we need
    ├── BrokerError               an error code of the Kafka protocol (`wire.kafka_errors`)
    └── PartitionFault            stops one partition; carries a typed `Reason` (`replicator.states`)

Every message says what, where (cluster, topic, partition, offset), why, and what to do next.
`retriable` says whether the same call may succeed later without anybody doing anything.
"""

from __future__ import annotations


class ReplicatorError(Exception):
    """Root of all errors that Replicator raises on purpose; the message is fit to be shown to a user as it is."""

    retriable = False
    exit_code = 1


class ConfigurationError(ReplicatorError):
    """A setting can't be used. The message names file, line and key, and what would be right."""

    exit_code = 2


class UnreachableError(ReplicatorError):
    """No connection to a cluster could be made or kept. The message names cluster and address."""

    retriable = True
    exit_code = 3


class AuthenticationError(ReplicatorError):
    """SASL or TLS authentication failed. The message never contains the secret."""

    exit_code = 3


class AuthorizationError(ReplicatorError):
    """The principal isn't allowed to do this. The message names resource and operation, and what to grant."""

    exit_code = 3

    def __init__(self, message: str, *, resource: str = "", operation: str = "") -> None:
        super().__init__(message)
        self.resource = resource
        self.operation = operation


class WrongStateError(ReplicatorError):
    """The command doesn't fit the state the link or partition is in."""

    exit_code = 4


class ProtocolError(ReplicatorError):
    """A peer sent bytes that the Kafka protocol doesn't allow, or more of them than we accept."""


class UnsupportedVersionError(ReplicatorError):
    """The broker doesn't offer a version of an API that we need."""

    exit_code = 3
