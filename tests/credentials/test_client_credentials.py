"""Tokens of a token endpoint, and endpoints that answer badly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from replicator.credentials.client_credentials import MAX_ANSWER_BYTES, Endpoint, fetcher
from replicator.errors import AuthenticationError, ConfigurationError, ReplicatorError, UnreachableError
from tests.support.token_endpoint import TokenEndpoint, unsigned_jwt

SECRET = "p%ss:w+rd/ü"


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint("the client", SECRET) as serving:
        yield serving


def at(endpoint: TokenEndpoint, **given: Any) -> Endpoint:
    return Endpoint(endpoint.url, **{"client_id": "the client", "secret": lambda: SECRET, **given})


@pytest.mark.parametrize("method", ["basic", "post"])
def test_given_the_right_secret_then_there_is_a_token_that_ends_when_its_jwt_does(
    endpoint: TokenEndpoint, method: Any
) -> None:
    token = fetcher(at(endpoint, method=method, scope="kafka read"))()
    assert token.text.count(".") == 2
    assert token.ends_s - time.time() == pytest.approx(900, abs=5)
    (asked,) = endpoint.asked
    assert asked["scope"] == "kafka read"
    assert ("client_secret" in asked) == (method == "post")
    assert bool(asked["authorization"]) == (method == "basic")


def test_given_a_secret_that_changes_then_the_next_token_is_asked_for_with_the_new_one(endpoint: TokenEndpoint) -> None:
    secrets = ["first", SECRET]
    fetch = fetcher(at(endpoint, secret=lambda: secrets.pop(0)))
    with pytest.raises(AuthenticationError, match="answers 401: invalid_client") as caught:
        fetch()
    assert "first" not in str(caught.value), "the endpoint repeats what it was sent"
    assert fetch().text


@pytest.mark.parametrize(
    ("status", "answer", "kind", "said"),
    [
        (200, {"access_token": "opaque"}, AuthenticationError, "doesn't say when its tokens end"),
        (200, {"access_token": "opaque", "expires_in": True}, AuthenticationError, "doesn't say when"),
        (200, {"access_token": "opaque", "expires_in": -1}, AuthenticationError, "doesn't say when"),
        (
            200,
            {"access_token": "a\x01auth=Bearer b", "expires_in": 9},
            AuthenticationError,
            "without a usable access_token",
        ),
        (200, {"access_token": 7, "expires_in": 9}, AuthenticationError, "without a usable access_token"),
        (200, b"[" * 10_000, AuthenticationError, "without a usable access_token"),
        (200, b"<html>", AuthenticationError, "without a usable access_token"),
        (200, b"x" * (MAX_ANSWER_BYTES + 1), AuthenticationError, "more than 256 KiB"),
        (
            400,
            {"error": "invalid_scope", "error_description": 7},
            AuthenticationError,
            "answers 400: invalid_scope; check",
        ),
        (302, b"", AuthenticationError, "redirects aren't followed"),
        (307, b"", AuthenticationError, "redirects aren't followed"),
        (429, b"", UnreachableError, "answers 429"),
        (503, b"busy", UnreachableError, "answers 503"),
    ],
)
def test_given_an_answer_that_is_no_token_then_it_is_refused_and_said_why(
    endpoint: TokenEndpoint, status: int, answer: Any, kind: type[ReplicatorError], said: str
) -> None:
    endpoint.answer = lambda: (status, answer)
    with pytest.raises(kind, match=said):
        fetcher(at(endpoint))()


def test_given_an_opaque_token_then_expires_in_holds(endpoint: TokenEndpoint) -> None:
    endpoint.answer = lambda: (200, {"access_token": "opaque", "expires_in": "60"})
    token = fetcher(at(endpoint), clock=lambda: 1000.0)()
    assert (token.text, token.made_s, token.ends_s) == ("opaque", 1000.0, 1060.0)


def test_given_a_jwt_that_ends_first_then_its_end_holds(endpoint: TokenEndpoint) -> None:
    endpoint.answer = lambda: (200, {"access_token": unsigned_jwt("c", 30), "expires_in": 3600})
    assert fetcher(at(endpoint))().ends_s - time.time() == pytest.approx(30, abs=5)


def test_given_an_endpoint_that_says_nothing_then_the_wait_is_bounded(endpoint: TokenEndpoint) -> None:
    def slowly() -> Any:
        time.sleep(1.5)
        return 200, b""

    endpoint.answer = slowly
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="can't be reached"):
        fetcher(at(endpoint), timeout_s=0.4)()
    assert time.monotonic() - began < 1.4


def test_given_nobody_there_or_no_such_authority_then_it_is_said(endpoint: TokenEndpoint) -> None:
    with pytest.raises(UnreachableError, match="can't be reached"):
        fetcher(Endpoint("http://127.0.0.1:1/t", "c", lambda: "s"))()
    with pytest.raises(ConfigurationError, match="token_ca_file"):
        fetcher(at(endpoint, ca_file="/no/such.pem"))()
