"""Secrets of AWS Secrets Manager: read when they are first named, and again in the background, at a bounded rate."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from replicator.credentials.aws import client, errors_as_ours
from replicator.errors import AuthenticationError, ReplicatorError

REREAD_S = 60.0  # a secret that is in use is asked for so often, at most

_ARN = re.compile(r"arn:[a-z-]+:secretsmanager:([a-z0-9-]+):\d{12}:secret:.+")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A secret by name or ARN, in a region and by a profile, where they aren't the default ones."""

    name: str
    region: str | None = None
    profile: str | None = None

    @property
    def place(self) -> str | None:
        """The region: an ARN holds it."""
        match = _ARN.fullmatch(self.name)
        return match[1] if match else self.region


def _ask(reference: SecretReference) -> str:
    with errors_as_ours(f"secret {reference.name} of AWS Secrets Manager"):
        service = client("secretsmanager", region=reference.place, profile=reference.profile)
        try:
            answer: dict[str, Any] = service.get_secret_value(SecretId=reference.name)
        finally:
            service.close()
    text = answer.get("SecretString")
    if not isinstance(text, str):
        raise AuthenticationError(f"secret {reference.name} of AWS Secrets Manager is binary; store it as text")
    return text


class SecretsManager:
    """What was read, for all who use the same secret. Thread-safe."""

    def __init__(
        self, ask: Callable[[SecretReference], str] = _ask, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[SecretReference, tuple[str, float]] = {}
        self._asking: set[SecretReference] = set()

    def read(self, reference: SecretReference) -> str:
        """The secret's text, asked for now unless that was done lately. Blocking; ReplicatorError if it can't be had.

        While the service can't be asked, a secret that was read before is what it was.
        """
        with self._lock:
            known = self._known.get(reference)
        if known is None or self._clock() - known[1] >= REREAD_S:
            try:
                self._note(reference, self._ask(reference))
            except ReplicatorError as error:
                if known is None:
                    raise
                self._keep(reference, error)
        with self._lock:
            return self._known[reference][0]

    def present(self, reference: SecretReference) -> str | None:
        """What was read last; never waits. If that was long ago, it is asked for anew meanwhile."""
        with self._lock:
            known = self._known.get(reference)
            stale = known is None or self._clock() - known[1] >= REREAD_S
            if stale and reference not in self._asking:
                self._asking.add(reference)
                threading.Thread(target=self._reread, args=(reference,), name="read a secret", daemon=True).start()
        return None if known is None else known[0]

    def _reread(self, reference: SecretReference) -> None:
        try:
            self._note(reference, self._ask(reference))
        except ReplicatorError as error:
            self._keep(reference, error)
        finally:
            with self._lock:
                self._asking.discard(reference)

    def _note(self, reference: SecretReference, text: str) -> None:
        with self._lock:
            before = self._known.get(reference)
            self._known[reference] = text, self._clock()
        if before is not None and before[0] != text:
            log.info("a secret has changed", name=reference.name)

    def _keep(self, reference: SecretReference, error: ReplicatorError) -> None:
        log.warning("a secret can't be read; going on with what it was", error=str(error))
        with self._lock:
            if (known := self._known.get(reference)) is not None:
                self._known[reference] = known[0], self._clock()


def part_of(text: str, key: str | None, default: str) -> str | None:
    """The text under `key` of a secret that is a JSON object; None if there is none.

    Without `key`: under `default`, where the secret is such an object and has it (as those of Amazon MSK's users do:
    `{"username": …, "password": …}`), else the whole secret.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    fields = found if isinstance(found, dict) else {}
    value = fields.get(default if key is None else key)
    if isinstance(value, str) and value:
        return value
    return text.rstrip("\r\n") if key is None else None


STORE = SecretsManager()
"""The one of this process."""
