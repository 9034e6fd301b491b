"""Who may ask for what: bearer tokens with roles, and names a browser may have used to get here."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from aiohttp import web

from replicator.config.models import ServiceConfig

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Role(StrEnum):
    """What somebody may do: look, or also give orders."""

    VIEW = "view"
    OPERATE = "operate"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks; `name` is that of the token, and goes to the audit trail."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether that is allowed: who may operate may look."""
        return self.role is Role.OPERATE or role is Role.VIEW


LOCAL = Principal("local", Role.OPERATE)


@dataclass(frozen=True, slots=True)
class Token:
    """A secret, and who has it. `present` gives what it is now: one of a file may change."""

    principal: Principal
    present: Callable[[], str] = field(repr=False)

    @classmethod
    def of(cls, name: str, secret: str, role: str = Role.OPERATE) -> Token:
        """One that stays as it is."""
        return cls(Principal(name, Role(role)), lambda: secret)

    @property
    def digest(self) -> bytes:
        """Of the present secret."""
        return _digest(self.present())


def tokens_of(service: ServiceConfig) -> tuple[Token, ...]:
    """The tokens of the configuration; that of `service.token` is called `token`."""
    found = [Token(Principal(each.name, Role(each.role)), each.token.get_secret_value) for each in service.tokens]
    if service.token is not None and service.token.get_secret_value():
        found.insert(0, Token(Principal("token", Role.OPERATE), service.token.get_secret_value))
    return tuple(found)


class Access:
    """Decides by request. With tokens, data needs one of them; without, only local names are answered.

    The latter keeps a web page that points a name of its own at 127.0.0.1 (DNS rebinding) from reading our data.
    """

    def __init__(self, tokens: Iterable[Token], *, check_host: bool) -> None:
        self._tokens = tuple(tokens)
        self._check_host = check_host and not self._tokens

    @property
    def guards(self) -> bool:
        """Whether anybody could be refused: behind a unix socket nobody is."""
        return bool(self._tokens) or self._check_host

    def who(self, request: web.Request) -> Principal | None:
        """Who asks; None without a token that is right. Takes the same time for each wrong one."""
        if not self._tokens:
            return LOCAL
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        digest, found = _digest(given.strip()), None
        for token in self._tokens:  # all of them, whichever it is
            if hmac.compare_digest(digest, token.digest):
                found = token.principal
        return found if scheme.lower() == "bearer" else None

    def host_allowed(self, request: web.Request) -> bool:
        """Whether the `Host` header is a name of this machine."""
        return not self._check_host or _host(request.headers.get("Host", "")) in _LOCAL_NAMES


def comes_from_elsewhere(request: web.Request) -> bool:
    """Whether a browser says that another site's page makes this request."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != request.headers.get("Host", "").lower():
        return True
    return request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")


def is_loopback(address: str) -> bool:
    """Whether `host:port` or `unix:/path` can be reached from this machine alone."""
    if address.startswith("unix:"):
        return True
    host = _host(address)
    if host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(secret: str) -> bytes:
    """All of one length, so that comparing tells nothing of the secret's."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


def _host(address: str) -> str:
    """The host of `host`, `host:port` or `[v6]:port`."""
    if address.startswith("["):
        return address[1:].partition("]")[0].lower()
    host, colon, port = address.rpartition(":")
    return (host if colon and port.isdigit() and ":" not in host else address).lower()
