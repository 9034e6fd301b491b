"""What clients of Amazon MSK show brokers: OAUTHBEARER tokens and the payload of the mechanism AWS_MSK_IAM.

Both are the presigned call `kafka-cluster:Connect`. A token is the URL in base64url without padding, of the region's
`kafka.REGION.amazonaws.com`; the payload is its parameters as JSON, signed for the broker's own name.
Source: aws-msk-iam-sasl-signer-python `MSKAuthTokenProvider`, aws-msk-iam-auth `AWS4SignedPayloadGenerator`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from broker.iam.errors import SignatureError
from broker.iam.signature import Signer, verify_presigned
from broker.iam.store import CredentialStore

SERVICE = "kafka-cluster"
ACTION = "kafka-cluster:Connect"
PAYLOAD_VERSION = "2020_10_22"
MAX_BYTES = 16 << 10  # a session token alone may have several KB
MAX_EXPIRES_S = 900
MAX_SKEW_S = 300.0
_MOST_PARAMETERS = 20
_PAYLOAD_KEYS = ("algorithm", "credential", "date", "security-token", "signedheaders", "expires", "signature")


def service_hosts(region: str) -> tuple[str, ...]:
    """The hosts that tokens for a region are signed for. For China Amazon's Java library takes the partition's own
    domain, its Python signer the usual one."""
    host = f"kafka.{region}.amazonaws.com"
    return (f"{host}.cn", host) if region.startswith("cn-") else (host,)


def verify_token(
    token: bytes | str, *, region: str, store: CredentialStore, now: datetime, max_skew_s: float = MAX_SKEW_S
) -> Signer:
    """Who a token of OAUTHBEARER is from; it may be shown again until it expires. Raises SignatureError."""
    text = _text(token)
    if len(text) > MAX_BYTES:
        raise _refused(f"a token of {len(text)} bytes, accepted are {MAX_BYTES}")
    try:
        padded = text.rstrip("=")
        url = base64.b64decode(padded + "=" * (-len(padded) % 4), altchars=b"-_", validate=True).decode("ascii")
        parts = urlsplit(url)
        host = parts.netloc
        pairs = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=True, max_num_fields=_MOST_PARAMETERS, errors="strict"
        )
    except (binascii.Error, ValueError):  # UnicodeDecodeError is one
        raise _refused("it isn't a presigned URL in base64url") from None
    if parts.scheme != "https" or parts.path not in ("", "/") or parts.fragment:
        raise _refused("it isn't https://HOST/?…")
    if host not in service_hosts(region):
        raise _refused(f"it was signed for another host than {' or '.join(service_hosts(region))}")
    signed = [(name, value) for name, value in pairs if name.lower() != "user-agent"]  # added after signing
    _check_action(next((value for name, value in signed if name == "Action"), ""))
    return verify_presigned(
        signed,
        host=host,
        service=SERVICE,
        regions=(region,),
        store=store,
        now=now,
        max_expires_s=MAX_EXPIRES_S,
        max_skew_s=max_skew_s,
    )


def verify_payload(
    payload: bytes,
    *,
    hosts: Collection[str],
    region: str,
    store: CredentialStore,
    now: datetime,
    max_skew_s: float = MAX_SKEW_S,
) -> Signer:
    """Who the first message of AWS_MSK_IAM is from; `hosts` are the broker's names. Raises SignatureError."""
    if len(payload) > MAX_BYTES:
        raise _refused(f"a payload of {len(payload)} bytes, accepted are {MAX_BYTES}")
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        raise _refused("it isn't JSON") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _refused("it isn't a JSON object of strings")
    if found.get("version") != PAYLOAD_VERSION:
        raise _refused(f"its version isn't {PAYLOAD_VERSION}")
    if found.get("host") not in hosts:
        raise _refused("it was signed for another host than this broker")
    _check_action(found.get("action", ""))
    signed = [("Action", found["action"])]
    signed += [(_name(key), found[f"x-amz-{key}"]) for key in _PAYLOAD_KEYS if f"x-amz-{key}" in found]
    return verify_presigned(
        signed,
        host=found["host"],
        service=SERVICE,
        regions=(region,),
        store=store,
        now=now,
        max_expires_s=MAX_EXPIRES_S,
        max_skew_s=max_skew_s,
    )


def _name(key: str) -> str:
    """As the parameter is called in the request that was signed."""
    return {"security-token": "X-Amz-Security-Token", "signedheaders": "X-Amz-SignedHeaders"}.get(
        key, f"X-Amz-{key.capitalize()}"
    )


def _text(token: bytes | str) -> str:
    if isinstance(token, str):
        return token
    try:
        return token.decode("ascii")
    except UnicodeDecodeError:
        raise _refused("it isn't a presigned URL in base64url") from None


def _check_action(action: str) -> None:
    if action != ACTION:
        raise _refused(f"its action isn't {ACTION}")


def _refused(why: str) -> SignatureError:
    return SignatureError("InvalidSignatureException", f"The token is refused: {why}.")
