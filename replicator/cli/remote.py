"""A link through the API of a worker, without a configuration file."""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replicator.errors import (
    AuthenticationError,
    AuthorizationError,
    ConfigurationError,
    ReplicatorError,
    UnreachableError,
    WrongStateError,
)
from replicator.verbs.moving import snapshot_name
from replicator.verbs.verb import Hand, Order, Row, Verb
from replicator.views.table import VIEWS

_TIMEOUT_S = 120.0
_SLOW_S = 300.0
_POLL_S = 0.3
_MAX_ANSWER_BYTES = 256 << 20
_PATIENCE_S = 30.0  # for a worker that doesn't answer while an operation runs
_TYPES: dict[int, type[ReplicatorError]] = {2: ConfigurationError, 3: UnreachableError, 4: WrongStateError}


class Remote:
    """The links of the service at `url`, or the one called `link`. Blocking.

    The token comes from a file, or from the variable REPLICATOR_TOKEN. Certificates are verified.
    """

    def __init__(
        self,
        url: str,
        link: str | None,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        ways_back: bool = True,
    ) -> None:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"--api {url}: write the address of a worker, such as https://host:8080")
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._token = _token(token_file)
        self._tls = _tls(ca_file) if parts.scheme == "https" else None
        self.names: tuple[str, ...] = (link,) if link is not None else self._links(ways_back)

    def _links(self, ways_back: bool) -> tuple[str, ...]:
        me = self._call("GET", "/v1/me")
        return tuple(name for name in me["links"] if ways_back or name not in me.get("ways_back", ()))

    def view(self, name: str, link: str, **query: object) -> dict[str, Any]:
        """A view of `replicator.views.table`."""
        asked = {key: str(value).lower() if isinstance(value, bool) else str(value)
                 for key, value in query.items() if value is not None}  # fmt: skip
        path = _path("links", link, *([name] if name else []))
        asking = f"?{urllib.parse.urlencode(asked)}" if asked else ""
        return self._call("GET", path + asking, within_s=_SLOW_S if VIEWS[name].slow else _TIMEOUT_S)

    def ahead(self, verb: Verb[Any], link: str, order: Order) -> dict[str, Any]:
        """A dry run."""
        found = self._call("POST", _path("links", link, verb.name), {**_body(order), "dry_run": True})
        return {key: value for key, value in found.items() if key not in ("dry_run", "consequence")}

    def run(self, verb: Verb[Any], link: str, order: Order, found: Row | None, hand: Hand) -> dict[str, Any]:
        """Give the order, tell of its progress, and wait until it is done: it goes on there if we are ended."""
        if hand.export is not None:
            raise ConfigurationError(
                "--export isn't available through the API: files would be written where the worker runs; leave it "
                "out, or run the command with the configuration file"
            )
        if verb.saves:
            return self._saving(verb, link, order, hand)
        return self._follow(self._order(verb, link, order), hand)

    def _order(self, verb: Verb[Any], link: str, order: Order) -> str:
        """The operation that it begins."""
        begun = self._call("POST", _path("links", link, verb.name), {**_body(order), "confirm": link})
        return str(begun["operation"])

    def _saving(self, verb: Verb[Any], link: str, order: Order, hand: Hand) -> dict[str, Any]:
        """What the verb saves is saved here, too: where it can't be, nothing is changed."""
        file = hand.snapshot or Path(snapshot_name(link))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(exist_ok=False)
        except OSError as error:
            raise WrongStateError(
                f"link {link}: the {verb.saves} can't be saved to {file}: {error.strerror}; name another file. "
                "Nothing was changed"
            ) from error
        try:
            operation = self._order(verb, link, order)
            done = self._follow(operation, hand)
            key = "audit" if "audit" in done else "snapshot"
            if done.get(key) is None:
                return done  # there was nothing to save
            file.write_text(json.dumps(self._call("GET", _path("operations", operation, "snapshot")), indent=1))
            return {**done, key: str(file)}
        finally:
            if not file.stat().st_size:
                file.unlink()

    def _follow(self, operation: str, hand: Hand) -> dict[str, Any]:
        told, seen = 0, time.monotonic()
        while True:
            try:
                now = self._call("GET", f"{_path('operations', operation)}?after={told}")
                seen = time.monotonic()
            except UnreachableError as error:
                if time.monotonic() - seen > _PATIENCE_S:
                    raise UnreachableError(
                        f"{error}; nobody knows what became of the command: see `replicator audit`, and give it again"
                    ) from error
                time.sleep(_POLL_S)
                continue
            for line in now["lines"]:
                hand.say(line)
            told += len(now["lines"])
            if now["state"] == "done":
                result: dict[str, Any] = now["result"]
                return result
            if now["state"] != "running":
                raise _TYPES.get(now["exit_code"], ReplicatorError)(now["error"])
            time.sleep(_POLL_S)

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, within_s: float = _TIMEOUT_S
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json", "User-Agent": "replicator"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self._url + path, data, headers, method=method)
        handlers = [urllib.request.ProxyHandler({}), _NoRedirect()]
        opener = urllib.request.build_opener(*handlers, urllib.request.HTTPSHandler(context=self._tls))
        try:
            with opener.open(asked, timeout=within_s) as response:
                answer = response.read(_MAX_ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error.code, error.read(64 << 10)) from None
        except (OSError, ValueError) as error:
            raise self._unreachable(error) from error
        try:
            found = json.loads(answer)
        except ValueError as error:
            raise ConfigurationError(f"{self._url}{path} isn't the API of a Replicator: no JSON comes back") from error
        if not isinstance(found, dict):
            raise ConfigurationError(f"{self._url}{path} isn't the API of a Replicator")
        return found

    def _unreachable(self, error: Exception) -> ReplicatorError:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return UnreachableError(
                f"{self._url}: no TLS connection: {reason}; "
                "name the authority that signed its certificate with --ca-file"
            )
        return UnreachableError(f"{self._url} doesn't answer: {reason}; does a worker run there (service.http)?")

    def _refused(self, status: int, answer: bytes) -> ReplicatorError:
        try:
            told = json.loads(answer)
            text, code = str(told["error"]), int(told.get("exit_code") or 0)
        except (ValueError, KeyError, TypeError):
            text, code = f"status {status} from something that isn't a Replicator's API", 2
        if status == 401:
            return AuthenticationError(f"{self._url}: {text}; set REPLICATOR_TOKEN, or name a file with --token-file")
        if status == 403:
            return AuthorizationError(f"{self._url}: {text}")
        return _TYPES.get(code, ReplicatorError)(text)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(urllib.parse.quote(part, safe="") for part in parts)


def _body(order: Order) -> dict[str, Any]:
    return order.model_dump(mode="json")


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get("REPLICATOR_TOKEN") or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--token-file {file}: can't be read: {error}") from error


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else os.fspath(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"--ca-file {ca_file}: can't be used: {error}") from error
