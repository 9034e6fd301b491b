"""Sources of tokens: who asks never waits in vain, and never gets one that has ended."""

from __future__ import annotations

import threading
import time

import pytest

from replicator.credentials.token import Token, TokenSource
from replicator.errors import AuthenticationError, UnreachableError
from tests.support.waiting import wait_for


class Issuer:
    """Issues tokens that are valid so long; `error` is what it fails with instead, `hold` lets it take its time."""

    def __init__(self, lifetime_s: float) -> None:
        self.lifetime_s = lifetime_s
        self.error: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.issued = 0
        self.attempts = 0

    def __call__(self) -> Token:
        self.attempts += 1
        self.hold.wait(10)
        if self.error is not None:
            raise self.error
        self.issued += 1
        now = time.time()
        return Token(f"token-{self.issued}", now, now + self.lifetime_s)


def test_given_many_who_ask_when_there_is_no_token_then_one_is_fetched_for_all() -> None:
    issuer = Issuer(900)
    issuer.hold.clear()
    source = TokenSource("test", issuer)
    assert not source.ready
    got: list[str] = []
    asking = [threading.Thread(target=lambda: got.append(source.token().text)) for _ in range(20)]
    for thread in asking:
        thread.start()
    issuer.hold.set()
    for thread in asking:
        thread.join(10)
    assert got == ["token-1"] * 20
    assert issuer.attempts == 1
    assert source.ready


def test_given_a_token_in_use_when_three_quarters_of_its_time_are_over_then_there_is_a_new_one_without_waiting() -> (
    None
):
    issuer = Issuer(4.0)
    source = TokenSource("test", issuer)
    seen: set[str] = set()

    def third() -> bool:
        began = time.monotonic()
        token = source.token()
        assert time.monotonic() - began < 0.3, "it waited"
        assert token.ends_s > time.time()
        seen.add(token.text)
        return len(seen) >= 3

    source.token()
    wait_for(third, within=20, every=0.05, what="two renewals")


def test_given_a_source_that_nobody_asks_then_it_fetches_no_more_and_begins_again_when_asked() -> None:
    issuer = Issuer(3.0)
    source = TokenSource("test", issuer)
    source.token()
    wait_for(lambda: source._thread is None, within=10, every=0.05, what="the end of its thread")
    issued = issuer.issued
    assert issued <= 2
    wait_for(lambda: source.token().text == f"token-{issued + 1}", within=10, every=0.05, what="a new one")


def test_given_failures_when_asked_then_all_are_told_why_at_once_and_it_is_tried_again_meanwhile() -> None:
    issuer = Issuer(900)
    issuer.error = UnreachableError("the endpoint is away")
    source = TokenSource("test", issuer)
    with pytest.raises(UnreachableError, match="the endpoint is away"):
        source.token()
    issuer.hold.clear()  # an attempt that takes long
    began = time.monotonic()
    for _ in range(50):
        with pytest.raises(UnreachableError, match="the endpoint is away"):
            source.token()
    assert time.monotonic() - began < 0.5
    issuer.error = None
    issuer.hold.set()

    def there() -> bool:
        try:
            return source.token().text == "token-1"
        except UnreachableError:
            return False

    wait_for(there, within=10, every=0.05, what="a token after the failure")


def test_given_a_valid_token_when_renewal_fails_then_it_is_used_until_it_ends_and_then_the_reason_is_told() -> None:
    issuer = Issuer(3.0)
    source = TokenSource("test", issuer)
    first = source.token()
    issuer.error = AuthenticationError("the secret is wrong")
    wait_for(lambda: (source.token(), issuer.attempts >= 2)[1], within=10, every=0.05, what="a failed renewal")
    assert source.token() == first

    def ended() -> bool:
        try:
            source.token()
        except AuthenticationError as error:
            assert time.time() > first.ends_s - 1.5
            return "the secret is wrong" in str(error)
        return False

    wait_for(ended, within=10, every=0.05, what="the end of the token")


def test_given_a_token_that_has_ended_already_then_it_is_not_handed_out_and_the_clock_is_suspected() -> None:
    with pytest.raises(AuthenticationError, match="check the clocks"):
        TokenSource("test", Issuer(-60)).token()


def test_given_an_unforeseen_error_then_who_waits_hears_of_it_without_its_text() -> None:
    issuer = Issuer(900)
    issuer.error = KeyError("hidden")
    with pytest.raises(AuthenticationError, match="KeyError") as caught:
        TokenSource("test", issuer).token()
    assert "hidden" not in str(caught.value)


def test_given_a_token_when_it_is_shown_then_its_text_is_not() -> None:
    assert "hidden" not in repr(Token("hidden", 1.0, 2.0))
