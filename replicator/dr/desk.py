"""An operator's desk at one link: who works there now, what is wanted of its topics, and who did what.

Everything is in the link's control topic on the target, so that it works while the source is gone and no worker runs.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.errors import ReplicatorError, WrongStateError
from replicator.ledger.control_client import ControlClient
from replicator.ledger.desired import Desired, DesiredStates, encode_for
from replicator.ledger.log import KeyValue
from replicator.ledger.operations import ACCESS, Audit, Claim, Operations, claim_key, encode_audit, encode_claim
from replicator.ledger.turning import Turning
from replicator.states import State

_RENEW_MS = 15_000


def operator() -> str:
    """Who runs this process, for the audit trail: user@host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


class Desk:
    """A context manager: from `with` on, this link is claimed for one command, and what becomes of it is noted.

    Raises WrongStateError, naming the other operator, if somebody else is at work on it. Blocking; for one thread.
    """

    def __init__(
        self,
        settings: Settings,
        link: LinkConfig,
        verb: str,
        what: str,
        *,
        by: str = "",
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self.link = link
        self.by = by or operator()
        self.verb = verb
        self.detail = ""  # for the audit trail
        self.gone = False  # the control topic was deleted under it: nothing can be noted any more
        self._what = what
        self._now_ms = now_ms
        self._desired, self._operations = DesiredStates.of_link(link), Operations()
        self._turning = Turning()
        self._began_ms = now_ms()
        self._claim: Claim | None = None
        properties = client_properties(settings.clusters[link.target], client_id=f"replicator-{link.name}-{verb}")
        self._control = ControlClient(properties, link.name, cluster=link.target)

    def __enter__(self) -> Self:
        try:
            if not self._control.exists():
                raise WrongStateError(
                    f"link {self.link.name} has never run: there is no control topic on cluster {self.link.target}"
                )
            self._take_claim()
        except BaseException:
            self._control.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if not self.gone and (error is None or isinstance(error, Exception | KeyboardInterrupt)):
                self._note(error)
        finally:
            self._control.close()

    @property
    def trail(self) -> list[Audit]:
        """The audit trail, the newest first, as of the last look."""
        self._read()
        return self._operations.trail()

    @property
    def desired(self) -> DesiredStates:
        """What is wanted of the link's topics, as of the last look."""
        self._read()
        return self._desired

    @property
    def turning(self) -> Turning:
        """What is remembered of turning the link's direction, as of the last look."""
        self._read()
        return self._turning

    @property
    def claim(self) -> UUID:
        """The id of this command's claim."""
        assert self._claim is not None
        return self._claim.id

    def write(self, pairs: Sequence[KeyValue]) -> None:
        """Append these records to the control topic."""
        if pairs:
            self._control.write(pairs)

    def want(self, topics: Iterable[str] | None, state: State, why: str = "", *, apart: bool = False) -> Desired:
        """Let this be wanted of these source topics, or of all that there are and will be."""
        wanted = Desired(state, self.by, self._now_ms(), self.verb, why, apart)
        self._read()
        self._control.write(encode_for(topics, wanted, self._desired))
        self._read()
        return wanted

    def command(self, record: KeyValue) -> None:
        """Give an order to the workers (`ledger.control`)."""
        self._control.write([record])

    def renew(self) -> None:
        """Say that we are still at it; WrongStateError if the claim was lost in a long pause."""
        claim, now = self._claim, self._now_ms()
        if claim is None or now - claim.seen_ms < _RENEW_MS:
            return
        self._read()
        if claim.id not in self._operations.claims:
            raise WrongStateError(f"link {self.link.name}: this command was away for too long; run it again")
        self._claim = replace(claim, seen_ms=now)
        self._control.write([encode_claim(self._claim)])

    def _take_claim(self) -> None:
        now = self._now_ms()
        host = socket.gethostname()
        self._claim = claim = Claim(uuid4(), self.by, host, os.getpid(), self.verb, now, now)
        self._control.write([encode_claim(claim)])
        self._read()
        ahead = self._operations.before(claim.id)
        stale = [other for other in ahead if not other.lives(now) or (other.host == host and not _runs(other.pid))]
        others = [other for other in ahead if other not in stale]
        if not others:
            if stale:
                self._control.write([(claim_key(other.id), None) for other in stale])
            return
        self._give_up(claim.id)
        first = others[0]
        since = time.strftime("%H:%M:%S", time.localtime(first.since_ms / 1000))
        error = WrongStateError(
            f"link {self.link.name}: {first.by} is at work on it: `{first.verb}` since {since} (process {first.pid} on "
            f"{first.host}); wait until it is done. Nothing was changed"
        )
        self._audit("refused", str(error))
        raise error

    def note(self, result: str = "ok") -> None:
        """Enter into the audit trail what was done so far, as `detail` says."""
        self._audit(result, self.detail)

    def _note(self, error: BaseException | None) -> None:
        refused = isinstance(error, WrongStateError)
        result = "ok" if error is None else "refused" if refused else "failed"
        try:
            self._audit(result, self.detail if error is None else str(error) or type(error).__name__)
            if self._claim is not None:
                self._give_up(self._claim.id)
        except ReplicatorError:
            if error is None:
                raise

    def _audit(self, result: str, detail: str) -> None:
        now = self._now_ms()
        took_ms = now - self._began_ms
        audit = Audit(uuid4(), self.by, now, self.verb, self._what, result, detail, took_ms)
        self._control.write(encode_audit(audit, self._operations))

    def _give_up(self, claim: UUID) -> None:
        self._control.write([(claim_key(claim), None)])

    def _read(self) -> None:
        for key, value in self._control.read():
            self._desired.take(key, value)
            self._turning.take(key, value)
            self._operations.take(key, value)


def read_trail(settings: Settings, link: LinkConfig) -> list[Audit]:
    """The link's audit trail, the newest first; empty for a link that never ran."""
    properties = client_properties(settings.clusters[link.target], client_id=f"replicator-{link.name}-audit")
    with ControlClient(properties, link.name, cluster=link.target) as control:
        known = Operations()
        if control.exists():
            for key, value in control.read():
                known.take(key, value)
        return known.trail()


def note_in_trail(
    settings: Settings,
    link: LinkConfig,
    verb: str,
    what: str,
    detail: str,
    *,
    by: str = "",
    took_ms: int = 0,
    result: str = "ok",
) -> bool:
    """Enter something into the audit trail that changed nothing of the link, and so needed no claim; False if it has
    no trail since it never ran."""
    properties = client_properties(settings.clusters[link.target], client_id=f"replicator-{link.name}-audit")
    with ControlClient(properties, link.name, cluster=link.target) as control:
        if not control.exists():
            return False
        known = Operations()
        for key, value in control.read():
            known.take(key, value)
        now = int(time.time() * 1000)
        audit = Audit(uuid4(), by or operator(), now, verb, what, result, detail, took_ms)
        control.write(encode_audit(audit, known))
        return True


def note_refusal(settings: Settings, link: LinkConfig, by: str, what: str, detail: str) -> None:
    """Note in the link's audit trail that a request was refused; nothing for a link that never ran."""
    note_in_trail(settings, link, ACCESS, what, detail, by=by, result="refused")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
