"""Tokens of an OAuth 2 token endpoint, by the grant of client credentials (RFC 6749, section 4.4)."""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlencode

from replicator.credentials.token import Token
from replicator.errors import AuthenticationError, ConfigurationError, ReplicatorError, UnreachableError

TIMEOUT_S = 10.0  # for the whole answer
MAX_ANSWER_BYTES = 256 << 10
_TOKEN = re.compile(r"[-A-Za-z0-9._~+/]+=*")  # RFC 6750's b64token
_LONGEST_S = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where tokens are asked for, and by whom. `secret` gives the present client secret."""

    url: str
    client_id: str
    secret: Callable[[], str]
    scope: str | None = None
    method: Literal["basic", "post"] = "basic"
    ca_file: str | None = None


def fetcher(
    endpoint: Endpoint, clock: Callable[[], float] = time.time, timeout_s: float = TIMEOUT_S
) -> Callable[[], Token]:
    """What asks for a token.

    It raises UnreachableError without an answer or for one that may be better later (429, 5xx), AuthenticationError for
    a refusal or an answer that can't be used. No error holds the secret or the token.
    """

    def fetch() -> Token:
        asked_s = clock()
        secret = endpoint.secret()
        try:
            return _token(endpoint, _ask(endpoint, secret, timeout_s), asked_s)
        except ReplicatorError as error:
            if secret and secret in str(error):  # an endpoint may repeat what it was sent
                raise type(error)(str(error).replace(secret, "…")) from None
            raise

    return fetch


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What follows would get the client's secret."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask(endpoint: Endpoint, secret: str, timeout_s: float) -> bytes:
    fields = {"grant_type": "client_credentials"}
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    if endpoint.scope:
        fields["scope"] = endpoint.scope
    if endpoint.method == "post":
        fields |= {"client_id": endpoint.client_id, "client_secret": secret}
    else:  # RFC 6749, section 2.3.1: both are form-encoded first
        pair = f"{quote(endpoint.client_id, safe='')}:{quote(secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    request = urllib.request.Request(endpoint.url, urlencode(fields).encode(), headers, method="POST")
    opener = urllib.request.build_opener(_NoRedirects(), urllib.request.HTTPSHandler(context=_context(endpoint)))
    deadline = time.monotonic() + timeout_s
    try:
        with opener.open(request, timeout=timeout_s / 2) as answer:
            return _read(endpoint, answer, deadline)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(endpoint, error.code, _read(endpoint, error, deadline)) from None
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(
            f"{_named(endpoint)} can't be reached: {_reason(error)}; check security.token_endpoint and token_ca_file"
        ) from error


def _read(endpoint: Endpoint, answer: Any, deadline: float) -> bytes:
    data = b""
    while chunk := answer.read1(16 << 10):
        data += chunk
        if len(data) > MAX_ANSWER_BYTES:
            raise AuthenticationError(f"{_named(endpoint)} answers with more than {MAX_ANSWER_BYTES >> 10} KiB")
        if time.monotonic() > deadline:
            raise UnreachableError(f"{_named(endpoint)} answers too slowly")
    return data


def _refused(endpoint: Endpoint, status: int, body: bytes) -> ReplicatorError:
    said = _json(body) or {}
    words = [str(said[key])[:300] for key in ("error", "error_description") if isinstance(said.get(key), str)]
    text = f"{_named(endpoint)} answers {status}{': ' if words else ''}{': '.join(words)}"
    if status == 429 or status >= 500:
        return UnreachableError(text)
    if 300 <= status < 400:
        return AuthenticationError(f"{text}: redirects aren't followed; set the address that it leads to")
    return AuthenticationError(f"{text}; check security.client_id, client_secret, scope and client_auth")


def _token(endpoint: Endpoint, body: bytes, asked_s: float) -> Token:
    answer = _json(body)
    text = (answer or {}).get("access_token")
    if answer is None or not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise AuthenticationError(f"{_named(endpoint)} answers without a usable access_token")
    ends = [end for end in (_after(answer.get("expires_in"), asked_s), _expiry(text)) if end is not None]
    if not ends:
        raise AuthenticationError(
            f"{_named(endpoint)} doesn't say when its tokens end: there is neither expires_in nor a JWT with exp"
        )
    return Token(text, asked_s, min(ends))


def _after(expires_in: Any, asked_s: float) -> float | None:
    if isinstance(expires_in, str) and re.fullmatch(r"\d{1,10}", expires_in):
        expires_in = int(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float) or not 0 < expires_in <= _LONGEST_S:
        return None
    return asked_s + expires_in


def _expiry(token: str) -> float | None:
    """A JWT's `exp` (RFC 7519); None for anything else. It isn't verified: that is the broker's to do."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = _json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    exp = (claims or {}).get("exp")
    return float(exp) if isinstance(exp, int | float) and not isinstance(exp, bool) and 0 < exp < 1e11 else None


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"security.token_ca_file {endpoint.ca_file} can't be loaded: {error}") from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as for brokers: many companies' authorities need it
    return context


def _named(endpoint: Endpoint) -> str:
    return f"token endpoint {endpoint.url.partition('?')[0]}"


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(reason).__name__
