"""Who may ask: bearer tokens, and names a browser may have used to get here."""

from __future__ import annotations

import hmac
import ipaddress

from aiohttp import web

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Access:
    """Decides by request. With a token, data needs it; without one, only local names are answered.

    The latter keeps a web page that points a name of its own at 127.0.0.1 (DNS rebinding) from reading our data.
    """

    def __init__(self, token: str | None, *, check_host: bool) -> None:
        self._token = token.encode() if token else None
        self._check_host = check_host and self._token is None

    def authorized(self, request: web.Request) -> bool:
        """Whether data may be shown; compares in constant time."""
        if self._token is None:
            return True
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)

    def host_allowed(self, request: web.Request) -> bool:
        """Whether the `Host` header is a name of this machine."""
        return not self._check_host or _host(request.headers.get("Host", "")) in _LOCAL_NAMES


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


def _host(address: str) -> str:
    """The host of `host`, `host:port` or `[v6]:port`."""
    if address.startswith("["):
        return address[1:].partition("]")[0].lower()
    host, colon, port = address.rpartition(":")
    return (host if colon and port.isdigit() and ":" not in host else address).lower()
