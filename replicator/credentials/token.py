"""Bearer tokens that are there when somebody asks for one.

Invariants:
- A: who asks gets a token that is valid now, or an error that says why there is none; never one that has ended.
- B: a token is fetched by one thread at a time, its own: nobody waits for a token while an older one is valid, and
  nobody waits for an attempt while the last one failed.
- C: a source that nobody asks any more fetches no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from replicator.errors import AuthenticationError, ReplicatorError, UnreachableError

RENEW_AT = 0.75  # of its lifetime: before librdkafka (0.8) and our own connections (0.85) ask for the next one
RETRY_S = (1.0, 30.0)  # the first pause after a failure, and the longest
WAIT_S = 20.0  # for the first token; what fetches it has shorter limits of its own
MARGIN_S = 1.0  # a token that ends so soon isn't handed out: it would have ended when the broker looks

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, and when it was made and ends, in seconds since 1970. Its text is a secret."""

    text: str = field(repr=False)
    made_s: float
    ends_s: float


class TokenSource:
    """Keeps the newest token of `fetch`, a blocking call that raises ReplicatorError. Thread-safe.

    `what` says in logs whose tokens these are.
    """

    def __init__(self, what: str, fetch: Callable[[], Token], clock: Callable[[], float] = time.time) -> None:
        self.what = what
        self._fetch = fetch
        self._clock = clock
        self._changed = threading.Condition()
        self._token: Token | None = None
        self._error: ReplicatorError | None = None
        self._thread: threading.Thread | None = None
        self._asked = False  # since the last attempt

    def token(self) -> Token:
        """A valid one. Waits only for the first attempt; ReplicatorError says why there is none."""
        with self._changed:
            self._asked = True
            if (token := self._valid()) is not None:
                self._run()
                return token
            deadline = time.monotonic() + WAIT_S
            self._run()
            self._changed.notify_all()  # the machine may have slept past the last one's end
            while self._error is None:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise UnreachableError(f"{self.what}: no token within {WAIT_S:g} s")
                if (token := self._valid()) is not None:
                    self._asked = True
                    return token
            raise type(self._error)(str(self._error)) from self._error  # each who asks gets an error of their own

    @property
    def ready(self) -> bool:
        """Whether `token` would answer without waiting."""
        with self._changed:
            return self._valid() is not None or self._error is not None

    def _valid(self) -> Token | None:
        token = self._token
        return token if token is not None and self._clock() < token.ends_s - MARGIN_S else None

    def _run(self) -> None:
        if self._thread is None:
            self._error = None
            self._thread = threading.Thread(target=self._renew, name=f"tokens of {self.what}", daemon=True)
            self._thread.start()

    def _renew(self) -> None:
        pause_s = RETRY_S[0]
        while True:
            with self._changed:
                while (left_s := self._until_renewal()) > 0:
                    self._changed.wait(left_s)
                if self._ends_unasked():
                    return
                self._asked = False
            if self._attempt(pause_s):
                pause_s = RETRY_S[0]
                continue
            with self._changed:
                self._changed.wait_for(lambda: False, pause_s)
                if self._ends_unasked():
                    return
            pause_s = min(2 * pause_s, RETRY_S[1])

    def _ends_unasked(self) -> bool:
        if not self._asked:
            self._thread = None
        return not self._asked

    def _until_renewal(self) -> float:
        token = self._valid()
        if token is None:
            return 0.0
        lifetime_s = token.ends_s - token.made_s
        at_s = max(lifetime_s / 2, min(RENEW_AT * lifetime_s, lifetime_s - 2 * MARGIN_S))
        return token.made_s + at_s - self._clock()

    def _attempt(self, pause_s: float) -> bool:
        """Whether there is a new token now; who waits is told in any case."""
        error: ReplicatorError
        try:
            token = self._checked(self._fetch())
        except ReplicatorError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - whoever waits must hear of it; its text may hold a secret
            log.error("fetching a token failed in an unforeseen way", of=self.what, kind=type(failure).__name__)
            error = AuthenticationError(f"{self.what}: fetching a token failed: {type(failure).__name__}")
        else:
            with self._changed:
                self._token, self._error = token, None
                self._changed.notify_all()
            return True
        log.warning("no new token", of=self.what, error=str(error), again_in_s=pause_s)
        with self._changed:
            self._error = error
            self._changed.notify_all()
        return False

    def _checked(self, token: Token) -> Token:
        left_s = token.ends_s - self._clock()
        if left_s <= MARGIN_S:
            raise AuthenticationError(
                f"{self.what}: a new token has ended already, {-left_s:.0f} s ago; check the clocks, and how long the "
                "credentials are valid"
            )
        return token
