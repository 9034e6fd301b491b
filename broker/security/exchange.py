"""What all SASL mechanisms are to the rest of the broker."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class AuthenticationFailed(Exception):
    """The client couldn't prove who it is, or its message makes no sense."""


class Exchange(Protocol):
    """One authentication in progress. `user` is set once `done` is true, and `expires` where who it is has an end."""

    user: str
    done: bool

    @property
    def expires(self) -> datetime | None:
        """Until when the client is who it is."""

    def step(self, message: bytes) -> bytes:
        """Take the client's next message; returns the answer. Raises AuthenticationFailed."""
