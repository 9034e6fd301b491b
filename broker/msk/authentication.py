"""Who asks: the AWS signature (version 4) of a request, checked against the credentials that are known here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from broker.msk.errors import FrontDoorError
from broker.msk.registry import Caller

SERVICE = "kafka"
_SCOPE = re.compile(r"Credential=[^/\s,]+/\d{8}/([a-z0-9-]{1,32})/([a-z0-9-]{1,64})/aws4_request\b")


@dataclass(frozen=True)
class Signed:
    """A request as it was sent: nothing decoded, so that what was signed can be seen again."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def body_sha256(self) -> str:
        """The body's hash, hexadecimal."""
        return hashlib.sha256(self.body).hexdigest()


class Authenticator(Protocol):
    """Finds out who signed a request, and for which region."""

    def __call__(self, request: Signed, now: datetime) -> tuple[Caller, str]:
        """Raises FrontDoorError."""
        ...


def region_of(headers: Mapping[str, str]) -> str:
    """The region that a request is signed for: one endpoint stands for the service in all regions.

    Raises FrontDoorError for a request without a signature, or one for another service.
    """
    authorization = headers.get("Authorization")
    if not authorization:
        raise FrontDoorError("MissingAuthenticationTokenException", "Missing Authentication Token")
    scope = _SCOPE.search(authorization[:4096])
    if scope is None or scope[2] != SERVICE:
        raise FrontDoorError(
            "IncompleteSignatureException",
            f"The Authorization header must hold an AWS4-HMAC-SHA256 signature for the service '{SERVICE}'.",
        )
    return scope[1]
