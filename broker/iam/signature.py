"""AWS Signature Version 4, recomputed: of requests with an Authorization header, and of presigned ones.

Source: AWS IAM user guide, "Create a signed AWS API request"; botocore's `SigV4Auth` and `SigV4QueryAuth` (tests sign
with these). Paths are encoded twice, as all services but S3 do.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_to_bytes

from broker.iam.errors import SignatureError
from broker.iam.store import Credential, CredentialStore

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_SKEW_S = 300.0
_EMPTY = hashlib.sha256(b"").hexdigest()
_DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} +Credential=([^,\s]{{1,256}}), *SignedHeaders=([^,\s]{{1,4096}}), *Signature=([0-9a-f]{{64}})"
)
_UNRESERVED = "-_.~"


@dataclass(frozen=True)
class Scope:
    """What `Credential=` says: the key, and what it was derived for."""

    access_key_id: str
    date: str
    region: str
    service: str

    @classmethod
    def parse(cls, text: str) -> Scope:
        """From `KEY/DATE/REGION/SERVICE/aws4_request`; SignatureError if it isn't that."""
        parts = text.split("/")
        if len(parts) != 5 or parts[4] != "aws4_request" or not all(parts) or not re.fullmatch(r"\d{8}", parts[1]):
            raise _incomplete("Credential must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request")
        return cls(*parts[:4])

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True)
class Signer:
    """Who signed, for which region, and until when that counts."""

    credential: Credential
    region: str
    expires: datetime


def verify_headers(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body_sha256: str,
    *,
    service: str,
    regions: Collection[str] | None,
    store: CredentialStore,
    now: datetime,
    max_skew_s: float = MAX_SKEW_S,
) -> Signer:
    """Who signed this request. `path` and `query` are as they were sent, still encoded; `regions` None: any.

    Raises SignatureError with AWS's code.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    authorization = lower.get("authorization")
    if authorization is None:
        raise SignatureError("MissingAuthenticationTokenException", "Missing Authentication Token")
    match = _AUTHORIZATION.fullmatch(authorization.strip())
    if match is None:
        raise _incomplete(f"Authorization must be {ALGORITHM} with Credential, SignedHeaders and Signature")
    scope, signed = Scope.parse(match[1]), match[2].split(";")
    _check_signed_headers(signed, lower)
    stamp = lower.get("x-amz-date")
    if stamp is None:
        raise _incomplete("the header X-Amz-Date is missing")
    at = _time(stamp)
    if abs((now - at).total_seconds()) > max_skew_s:
        skew, minutes = timedelta(seconds=max_skew_s), f"{max_skew_s / 60:g} min."
        if at < now:
            raise _invalid(
                f"Signature expired: {stamp} is now earlier than {_text(now - skew)} ({_text(now)} - {minutes})"
            )
        raise _invalid(
            f"Signature not yet current: {stamp} is still later than {_text(now + skew)} ({_text(now)} + {minutes})"
        )
    claimed = lower.get("x-amz-content-sha256", body_sha256)
    if claimed != body_sha256:
        raise _mismatch()
    credential = _credential(scope, stamp, service, regions, store, lower.get("x-amz-security-token"), now)
    canonical = _canonical(method, path, _pairs(query), [(name, lower[name]) for name in signed], body_sha256)
    _compare(credential, scope, stamp, canonical, match[3])
    return Signer(credential, scope.region, at + timedelta(seconds=max_skew_s))


def verify_presigned(
    parameters: Sequence[tuple[str, str]],
    *,
    host: str,
    service: str,
    regions: Collection[str] | None,
    store: CredentialStore,
    now: datetime,
    max_expires_s: int,
    max_skew_s: float = MAX_SKEW_S,
    method: str = "GET",
    path: str = "/",
) -> Signer:
    """Who signed these query parameters (decoded, X-Amz-Signature among them) of a request to `host` without a body.

    It counts until X-Amz-Date and X-Amz-Expires are over, however often it is shown. Raises SignatureError.
    """
    given = {name.lower(): value for name, value in parameters}
    if len(given) != len(parameters):
        raise _incomplete("a parameter is there twice")
    if not all(text.isascii() and text.isprintable() for text in given.values()):  # they are in messages, too
        raise _incomplete("parameters must be printable ASCII")
    for name in ("algorithm", "credential", "date", "expires", "signedheaders", "signature"):
        if not given.get(f"x-amz-{name}"):
            raise _incomplete(f"X-Amz-{name.capitalize()} is missing")
    if given["x-amz-algorithm"] != ALGORITHM:
        raise _incomplete(f"X-Amz-Algorithm must be {ALGORITHM}")
    if given["x-amz-signedheaders"] != "host":
        raise _incomplete("X-Amz-SignedHeaders must be host")
    scope, stamp, expires = Scope.parse(given["x-amz-credential"]), given["x-amz-date"], given["x-amz-expires"]
    if not re.fullmatch(r"[1-9]\d{0,6}", expires) or int(expires) > max_expires_s:
        raise _invalid(f"X-Amz-Expires must be a number of seconds from 1 to {max_expires_s}")
    at = _time(stamp)
    if at > now + timedelta(seconds=max_skew_s):
        raise _invalid(f"Signature not yet current: {stamp} is later than {_text(now)} + {max_skew_s:g} s")
    until = at + timedelta(seconds=int(expires))
    if now >= until:
        raise _invalid(f"Signature expired: {_text(until)} is earlier than {_text(now)}")
    credential = _credential(scope, stamp, service, regions, store, given.get("x-amz-security-token"), now)
    unsigned = [(name, value) for name, value in parameters if name.lower() != "x-amz-signature"]
    _compare(
        credential, scope, stamp, _canonical(method, path, unsigned, [("host", host)], _EMPTY), given["x-amz-signature"]
    )
    return Signer(credential, scope.region, min(until, credential.expires or until))


def _check_signed_headers(signed: Sequence[str], headers: Mapping[str, str]) -> None:
    if signed != sorted(set(signed)) or "host" not in signed:
        raise _incomplete("SignedHeaders must be sorted and hold host")
    missing = [name for name in signed if name not in headers]
    if missing:
        raise _invalid(f"signed headers are missing: {', '.join(missing[:5])}")
    unsigned = [name for name in headers if name.startswith("x-amz-") and name not in signed]
    if unsigned:
        raise _invalid(f"There were headers present in the request which were not signed: {', '.join(unsigned[:5])}")


def _credential(
    scope: Scope,
    stamp: str,
    service: str,
    regions: Collection[str] | None,
    store: CredentialStore,
    token: str | None,
    now: datetime,
) -> Credential:
    if scope.service != service:
        raise _invalid(f"Credential should be scoped to correct service: '{service}'.")
    if regions is not None and scope.region not in regions:
        raise _invalid(f"Credential should be scoped to a valid region, not '{scope.region[:64]}'.")
    if not stamp.startswith(scope.date):
        raise _invalid("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")
    credential = store.find(scope.access_key_id)
    expected = (
        credential.session_token.get_secret_value() if credential is not None and credential.session_token else ""
    )
    if credential is None or not hmac.compare_digest(expected.encode(), (token or "").encode()):
        raise SignatureError("UnrecognizedClientException", "The security token included in the request is invalid.")
    if credential.expires is not None and credential.expires <= now:
        raise SignatureError("ExpiredTokenException", "The security token included in the request is expired")
    return credential


def _compare(credential: Credential, scope: Scope, stamp: str, canonical: str, signature: str) -> None:
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    message = "\n".join((ALGORITHM, stamp, str(scope), hashed))
    key = b"AWS4" + credential.secret_access_key.get_secret_value().encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    expected = hmac.digest(key, message.encode(), "sha256").hex()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise _mismatch()


def _canonical(
    method: str, path: str, query: Sequence[tuple[str, str]], headers: Sequence[tuple[str, str]], body_sha256: str
) -> str:
    encoded = sorted((quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED)) for name, value in query)
    lines = "".join(f"{name}:{' '.join(value.split())}\n" for name, value in headers)
    names = ";".join(name for name, _ in headers)
    pairs = "&".join(f"{name}={value}" for name, value in encoded)
    return "\n".join((method.upper(), quote(_normalized(path), safe="/~"), pairs, lines, names, body_sha256))


def _normalized(path: str) -> str:
    """Without dots, as RFC 3986 section 5.2.4 has it, and without double slashes."""
    out: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del out[-1:]
        elif part not in ("", "."):
            out.append(part)
    ends = path.endswith("/") and bool(out)
    return "/" + "/".join(out) + ("/" if ends else "")


def _pairs(query: str) -> list[tuple[str, str]]:
    """A query as it was sent, decoded; a plus is a plus."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(_decoded(name), _decoded(value)) for name, _, value in pairs]


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise _incomplete("a query parameter isn't UTF-8") from None


def _time(stamp: str) -> datetime:
    try:
        if not re.fullmatch(r"\d{8}T\d{6}Z", stamp):
            raise ValueError
        return datetime.strptime(stamp, _DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise _incomplete("the date must be in ISO-8601 basic format, as 20260131T235959Z") from None


def _text(at: datetime) -> str:
    return at.strftime(_DATE_FORMAT)


def _incomplete(why: str) -> SignatureError:
    return SignatureError("IncompleteSignatureException", f"The signature can't be read: {why}.")


def _invalid(why: str) -> SignatureError:
    return SignatureError("InvalidSignatureException", why)


def _mismatch() -> SignatureError:
    return _invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details."
    )
