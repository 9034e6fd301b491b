"""A small OAuth 2 token endpoint: tokens for one client, and what a test wants it to answer instead."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote

Answer = tuple[int, bytes | dict[str, Any]]


def unsigned_jwt(subject: str, lifetime_s: float, **claims: Any) -> str:
    """A JWT without a signature, as Kafka's own examples use them (`alg: none`)."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": subject, "iat": now, "exp": now + lifetime_s, **claims})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


class TokenEndpoint:
    """Plain HTTP on loopback; a context manager. `asked` has each request's form, and its header `authorization`."""

    def __init__(self, client_id: str, secret: str, lifetime_s: float = 900) -> None:
        self.client_id = client_id
        self.secret = secret
        self.lifetime_s = lifetime_s
        self.asked: list[dict[str, str]] = []
        self.answer: Callable[[], Answer] | None = None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
                status, said = endpoint._answer(form, self.headers.get("Authorization", ""))
                data = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except OSError:
                    pass  # who asked has read enough

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/oauth2/token"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, form: dict[str, str], authorization: str) -> Answer:
        self.asked.append({**form, "authorization": authorization})
        if self.answer is not None:
            return self.answer()
        given = form.get("client_id"), form.get("client_secret")
        if authorization.startswith("Basic "):
            name, _, word = base64.b64decode(authorization[6:]).decode().partition(":")
            given = unquote(name), unquote(word)
        if form.get("grant_type") != "client_credentials" or given != (self.client_id, self.secret):
            return 401, {"error": "invalid_client", "error_description": f"no such client, or not {given[1]}"}
        token = unsigned_jwt(self.client_id, self.lifetime_s, scope=form.get("scope", ""))
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": int(self.lifetime_s) + 5}
