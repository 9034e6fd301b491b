"""What a handler or a log raises when the answer is an error code of the Kafka protocol.

Exception
├── KafkaError        becomes an error code (and message) in the response
└── CloseConnection   there is no answer: the connection is closed, as Kafka does for bytes it can't read
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kio.schema.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class RecordError:
    """One record that was refused: its index in the batch and why (KIP-467)."""

    batch_index: int
    message: str


class KafkaError(Exception):
    """An error code of the protocol with the message that goes back to the client."""

    def __init__(self, code: ErrorCode, message: str = "", record_errors: Sequence[RecordError] = ()) -> None:
        super().__init__(message or code.name)
        self.code = code
        self.message = message or None
        self.record_errors = tuple(record_errors)
        self.log_start_offset = -1


class CloseConnection(Exception):
    """Close the connection without an answer. The text says why, for the log."""
