"""An ACL as the syncers see it, and how it is written down."""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

AclKind = Literal["topic", "group", "transactional_id"]
_PREFIX = b"acl/"
_FIELDS = 7


class Acl(NamedTuple):
    """Names are Kafka's, in capitals: LITERAL or PREFIXED, READ, ALLOW or DENY."""

    kind: AclKind
    name: str
    pattern: str
    principal: str
    host: str
    operation: str
    permission: str

    @property
    def resource(self) -> str:
        """`topic orders`, or `topic orders*` for a prefix."""
        return f"{self.kind.replace('_', ' ')} {self.name}{'*' if self.pattern == 'PREFIXED' else ''}"

    @property
    def what(self) -> str:
        """`READ for User:alice`, with the host unless it is any."""
        where = "" if self.host == "*" else f" from {self.host}"
        return f"{self.operation} for {self.principal}{where}"


def encode_created(acl: Acl, at_ms: int) -> tuple[bytes, bytes]:
    """Key and value of the control topic's record that this link is about to create, or has created, the ACL."""
    return created_key(acl), json.dumps({"version": 1, "at_ms": at_ms}, separators=(",", ":")).encode()


def created_key(acl: Acl) -> bytes:
    """The record's key; with no value it says that the ACL isn't this link's any more."""
    return _PREFIX + json.dumps(list(acl), separators=(",", ":")).encode()


def take_created(created: set[Acl], key: bytes | None, value: bytes | None) -> None:
    """Apply one control record to the set of ACLs that the link created; records of other kinds change nothing.

    A key that can't be read is passed over: nothing is deleted that isn't surely ours.
    """
    if key is None or not key.startswith(_PREFIX):
        return
    try:
        fields = json.loads(key[len(_PREFIX) :])
    except ValueError:
        return
    if not isinstance(fields, list) or len(fields) != _FIELDS or not all(isinstance(field, str) for field in fields):
        return
    acl = Acl(*fields)
    if value is None:
        created.discard(acl)
    else:
        created.add(acl)
