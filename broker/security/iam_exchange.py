"""SASL mechanisms of Amazon MSK's IAM access control: OAUTHBEARER with MSK's tokens (RFC 7628), and AWS_MSK_IAM.

The principal is the signer's ARN, as `User:arn:aws:sts::…`. What a client is refused for is logged without its token,
and counted by the caller; the client is told no more than that it is refused.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from broker.iam.errors import IamError
from broker.iam.msk_token import MAX_BYTES, PAYLOAD_VERSION, verify_payload, verify_token
from broker.iam.signature import Signer
from broker.iam.store import CredentialStore
from broker.security.exchange import AuthenticationFailed, Exchange

log = logging.getLogger(__name__)

_SEPARATOR = "\x01"
_INVALID_TOKEN = json.dumps({"status": "invalid_token"}).encode()


@dataclass(frozen=True)
class IamLogIns:
    """Whose signatures count: those of a store, for a region. `may_connect` has a principal and its address."""

    store: CredentialStore
    region: str
    now: Callable[[], datetime]
    may_connect: Callable[[str, str], bool]


class _IamExchange:
    """What both mechanisms come to."""

    def __init__(self, log_ins: IamLogIns, hosts: Collection[str], client_host: str) -> None:
        self.user = ""
        self.done = False
        self.expires: datetime | None = None
        self._log_ins = log_ins
        self._hosts = hosts
        self._client_host = client_host

    def _finish(self, signer: Signer) -> None:
        """AuthenticationFailed for who may not connect: that is part of logging in."""
        if not self._log_ins.may_connect(signer.credential.principal_arn, self._client_host):
            raise AuthenticationFailed
        self.user = signer.credential.principal_arn
        self.expires = signer.expires
        self.done = True


class OAuthBearerExchange(_IamExchange):
    """`n,,` ^A `auth=Bearer TOKEN` ^A^A. A token that is refused is answered with a status, and then the client's
    empty message with a failure (RFC 7628, section 3.2.3)."""

    _refused = False

    def step(self, message: bytes) -> bytes:
        """The one message there is, or the answer to a refusal."""
        if self._refused or len(message) > MAX_BYTES + 1024:
            raise AuthenticationFailed
        token, authorization_id = _bearer(message)
        log_ins = self._log_ins
        try:
            signer = verify_token(token, region=log_ins.region, store=log_ins.store, now=log_ins.now())
        except IamError as error:
            log.warning("OAUTHBEARER: %s: %s", error.code, error)
            self._refused = True
            return _INVALID_TOKEN
        if authorization_id not in ("", signer.credential.principal_arn):
            raise AuthenticationFailed
        self._finish(signer)
        return b""


class AwsMskIamExchange(_IamExchange):
    """The presigned call as JSON, answered with version and request id."""

    def step(self, message: bytes) -> bytes:
        """The one message there is."""
        log_ins = self._log_ins
        try:
            signer = verify_payload(
                message, hosts=self._hosts, region=log_ins.region, store=log_ins.store, now=log_ins.now()
            )
        except IamError as error:
            log.warning("AWS_MSK_IAM: %s: %s", error.code, error)
            raise AuthenticationFailed from None
        self._finish(signer)
        return json.dumps({"version": PAYLOAD_VERSION, "request-id": str(uuid.uuid4())}).encode()


def _bearer(message: bytes) -> tuple[str, str]:
    """The token and the authorization id of a client's first message."""
    try:
        text = message.decode("ascii")
    except UnicodeDecodeError:
        raise AuthenticationFailed from None
    head, *pairs = text.split(_SEPARATOR)
    gs2 = head.split(",")
    if len(gs2) != 3 or gs2[0] != "n" or gs2[2] or not (not gs2[1] or gs2[1].startswith("a=")):
        raise AuthenticationFailed
    if len(pairs) < 3 or pairs[-2:] != ["", ""]:
        raise AuthenticationFailed
    found = [pair.partition("=")[2] for pair in pairs[:-2] if pair.partition("=")[0] == "auth"]
    if len(found) != 1 or not found[0].lower().startswith("bearer "):
        raise AuthenticationFailed
    return found[0][len("bearer ") :], gs2[1].removeprefix("a=")


IAM_MECHANISMS: dict[str, Callable[[IamLogIns, Collection[str], str], Exchange]] = {
    "OAUTHBEARER": OAuthBearerExchange,
    "AWS_MSK_IAM": AwsMskIamExchange,
}
