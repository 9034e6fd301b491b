"""SASL mechanisms, the server's side: PLAIN (RFC 4616), SCRAM-SHA-256/512 (RFC 5802, RFC 7677), and those of IAM.

An exchange takes the client's messages one by one. What it refuses it refuses with one and the same text, so that
nobody learns whether the user exists.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from scramp import ScramException, ScramMechanism

from broker.security.credentials import Credentials
from broker.security.exchange import AuthenticationFailed, Exchange
from broker.security.iam_exchange import IAM_MECHANISMS, IamLogIns
from broker.security.scram_store import ScramStore

MAX_USER_BYTES = 1024


class PlainExchange:
    """authorization id NUL user NUL password."""

    expires = None

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self.user = ""
        self.done = False

    def step(self, message: bytes) -> bytes:
        """The one message there is."""
        parts = _text(message).split("\x00")
        if len(parts) != 3 or not parts[1] or not parts[2] or parts[0] not in ("", parts[1]):
            raise AuthenticationFailed
        _check_name(parts[1])
        if not self._credentials.matches(parts[1], parts[2]):
            raise AuthenticationFailed
        self.user = parts[1]
        self.done = True
        return b""


class ScramExchange:
    """Two messages each way."""

    expires = None

    def __init__(self, credentials: Credentials, mechanism: str, stored: ScramStore | None = None) -> None:
        self._stored = stored
        self.user = ""
        self.done = False
        self._name = ""
        self._first = True
        self._credentials = credentials
        self._mechanism = mechanism
        self._server = ScramMechanism(mechanism).make_server(self._keys)

    def step(self, message: bytes) -> bytes:
        """First the user's name and nonce, then the proof."""
        text = _text(message)
        try:
            if self._first:
                self._first = False
                self._server.set_client_first(text)
                return str(self._server.get_server_first()).encode()
            self._server.set_client_final(text)
            answer = str(self._server.get_server_final()).encode()
        except (ScramException, ValueError, KeyError, IndexError) as error:
            raise AuthenticationFailed from error
        self.user = self._name
        self.done = True
        return answer

    def _keys(self, user: object) -> tuple[bytes, bytes, bytes, int]:
        self._name = str(user).replace("=2C", ",").replace("=3D", "=")
        _check_name(self._name)
        keys = self._stored.find(self._mechanism, self._name) if self._stored is not None else None
        keys = keys or self._credentials.scram(self._mechanism, self._name)
        return keys.salt, keys.stored_key, keys.server_key, keys.iterations


MECHANISMS: dict[str, Callable[[Credentials, ScramStore | None], Exchange]] = {
    "PLAIN": lambda credentials, _: PlainExchange(credentials),
    "SCRAM-SHA-256": lambda credentials, stored: ScramExchange(credentials, "SCRAM-SHA-256", stored),
    "SCRAM-SHA-512": lambda credentials, stored: ScramExchange(credentials, "SCRAM-SHA-512", stored),
}


class SaslServer:
    """The mechanisms a cluster offers on its SASL listeners, and the users it knows. Those of IAM need `iam`.

    `credentials` and `iam` may be replaced while it runs: whoever logs in from then on meets the new ones.
    """

    def __init__(self, mechanisms: Sequence[str], credentials: Credentials, iam: IamLogIns | None = None) -> None:
        """ValueError for a mechanism that there isn't."""
        known = [*MECHANISMS, *(IAM_MECHANISMS if iam is not None else ())]
        unknown = [name for name in mechanisms if name not in known]
        if unknown or not mechanisms:
            raise ValueError(f"unknown SASL mechanism {', '.join(unknown)}; there are {', '.join(known)}")
        self.mechanisms = tuple(mechanisms)
        self.credentials = credentials
        self.iam = iam

    def begin(
        self,
        mechanism: str,
        hosts: Collection[str] = (),
        client_host: str = "",
        stored: ScramStore | None = None,
    ) -> Exchange:
        """A new exchange of an offered mechanism, of a client on a node of these names; `stored` are SCRAM credentials
        beside those of the server's own. Raises KeyError for others."""
        if mechanism not in self.mechanisms:
            raise KeyError(mechanism)
        if mechanism in MECHANISMS:
            return MECHANISMS[mechanism](self.credentials, stored)
        assert self.iam is not None
        return IAM_MECHANISMS[mechanism](self.iam, hosts, client_host)


def is_user_name(name: str) -> bool:
    """Whether a user can have that name. ARNs are principals of IAM alone: policies count for who bears one."""
    return len(name.encode()) <= MAX_USER_BYTES and not name.startswith("arn:")


def _check_name(name: str) -> None:
    if not is_user_name(name):
        raise AuthenticationFailed


def _text(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise AuthenticationFailed from None
