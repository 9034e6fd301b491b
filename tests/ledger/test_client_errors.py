"""Which of librdkafka's errors pass by themselves, and which are somebody's to mend."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from replicator.errors import AuthenticationError, AuthorizationError, UnreachableError, UnsupportedVersionError
from replicator.ledger.client_errors import NoLeaderError, RefusedError, replicator_error


def translated(code: int) -> Exception:
    return replicator_error(KafkaError(code), cluster="eu", action="describe topic orders", resource="orders")


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._DESTROY_BROKER,  # what is under way when a broker has left the metadata
        KafkaError._UNKNOWN_BROKER,
        KafkaError._WAIT_CACHE,
        KafkaError._NODE_UPDATE,
        KafkaError._OUTDATED,
        KafkaError.NOT_CONTROLLER,
    ],
)
def test_given_that_a_broker_is_away_or_let_go_of_then_it_is_tried_again(code: int) -> None:
    error = translated(code)
    assert isinstance(error, UnreachableError)
    assert error.retriable
    assert "cluster eu: cannot describe topic orders" in str(error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.LEADER_NOT_AVAILABLE, NoLeaderError),
        (KafkaError.SASL_AUTHENTICATION_FAILED, AuthenticationError),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, AuthorizationError),
        (KafkaError.UNSUPPORTED_VERSION, UnsupportedVersionError),
        (KafkaError.INVALID_CONFIG, RefusedError),
        (KafkaError._INVALID_ARG, RefusedError),
    ],
)
def test_given_other_errors_then_their_kind(code: int, kind: type[Exception]) -> None:
    assert type(translated(code)) is kind
