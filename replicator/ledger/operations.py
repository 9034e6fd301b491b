"""Who works on a link at the moment, and who has: claims and the audit trail in its control topic.

A claim is one operator's, for one command. Of several, the one that stands first in the log counts: everybody reads the
same order. It is renewed while the command runs; one that isn't any more, or whose process is gone, stops nobody.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from uuid import UUID

from replicator.ledger.log import KeyValue

LEASE_MS = 60_000
KEPT = 1_000  # audit records; the oldest give way
ACCESS = "http"  # the verb of refused requests
ACCESS_KEPT = 100  # of those: whoever knocks at the door all night doesn't push out what operators did
_CLAIM = b"claim/"
_AUDIT = b"audit/"
_VERSION = 1
_TEXT_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Claim:
    """One operator's, who runs `verb` in the process `pid` on `host`; `seen_ms` is when it was renewed last."""

    id: UUID
    by: str
    host: str
    pid: int
    verb: str
    since_ms: int
    seen_ms: int

    def lives(self, now_ms: int) -> bool:
        """Whether its operator was seen lately."""
        return now_ms - self.seen_ms < LEASE_MS


@dataclass(frozen=True, slots=True)
class Audit:
    """What somebody did: `what` are its arguments, `result` is "ok", "refused" or "failed", `detail` says more."""

    id: UUID
    by: str
    at_ms: int
    verb: str
    what: str
    result: str
    detail: str = ""
    took_ms: int = 0


@dataclass(slots=True)
class Operations:
    """What of this kind stands in a control topic; `take` applies one record after the other."""

    claims: dict[UUID, Claim] = field(default_factory=dict)  # in the order of the log
    audits: dict[bytes, Audit] = field(default_factory=dict)  # by key, which is in the order of time

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Apply a record. One of another kind, or that can't be read, changes nothing."""
        if key is None:
            return
        try:
            held = None if value is None else json.loads(value)
            if key.startswith(_CLAIM):
                self._take_claim(UUID(key.removeprefix(_CLAIM).decode()), held)
            elif key.startswith(_AUDIT):
                self.audits.pop(key, None)
                if held is not None and held.pop("version") == _VERSION:
                    self.audits[key] = Audit(**{**held, "id": UUID(held["id"])})
        except (ValueError, KeyError, TypeError):
            return

    def _take_claim(self, claim: UUID, held: dict[str, object] | None) -> None:
        if held is None:
            self.claims.pop(claim, None)
        elif held.pop("version") == _VERSION:
            self.claims[claim] = Claim(**{**held, "id": claim})  # type: ignore[arg-type]  # renewed: its place stays

    def before(self, claim: UUID) -> list[Claim]:
        """The claims that stand before this one."""
        ahead: list[Claim] = []
        for known in self.claims.values():
            if known.id == claim:
                break
            ahead.append(known)
        return ahead

    def trail(self) -> list[Audit]:
        """The audit trail, the newest first."""
        return [self.audits[key] for key in sorted(self.audits, reverse=True)]


def encode_claim(claim: Claim) -> KeyValue:
    """The record of a claim, new or renewed."""
    held = {"version": _VERSION, **{key: value for key, value in asdict(claim).items() if key != "id"}}
    return claim_key(claim.id), json.dumps(held, separators=(",", ":")).encode()


def claim_key(claim: UUID) -> bytes:
    """Its key; without a value it gives the claim up."""
    return _CLAIM + str(claim).encode()


def encode_audit(audit: Audit, known: Operations) -> list[KeyValue]:
    """The records that add this to the trail, and keep it short."""
    held = {"version": _VERSION, **asdict(audit), "id": str(audit.id)}
    held |= {key: str(held[key])[:_TEXT_MAX] for key in ("what", "detail")}
    key = b"%s%015d-%s" % (_AUDIT, audit.at_ms, str(audit.id).encode())
    most, kin = KEPT, sorted(known.audits)
    if audit.verb == ACCESS:
        most, kin = ACCESS_KEPT, [other for other in kin if known.audits[other].verb == ACCESS]
    surplus = kin[: max(0, len(kin) + 1 - most)]
    return [(key, json.dumps(held, separators=(",", ":")).encode()), *((old, None) for old in surplus)]
