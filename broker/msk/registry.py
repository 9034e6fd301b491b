"""Where operations register the functions that answer them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from broker.msk.service import Service


@dataclass(frozen=True)
class Caller:
    """Who asks: the principal of the credentials that signed the request."""

    arn: str
    account: str
    access_key_id: str
    session_token: str | None = None


@dataclass(frozen=True)
class Call:
    """One request, checked: `input` has the operation's members by their names on the wire."""

    operation: str
    input: Mapping[str, Any]
    caller: Caller
    region: str
    now: datetime
    request_id: str
    service: Service
    require: Callable[[str, str], None]  # raises AccessDeniedException unless the caller may: action, resource's ARN


Handler = Callable[[Call], Awaitable[Mapping[str, Any]]]

HANDLERS: dict[str, Handler] = {}


def operation(name: str) -> Callable[[Handler], Handler]:
    """Register the function that answers an operation of the model, e.g. `@operation("CreateClusterV2")`.

    It gets a `Call`, gives the output's members by their names on the wire, and raises `ServiceError`.
    """

    def register(handler: Handler) -> Handler:
        if name in HANDLERS:
            raise ValueError(f"{name} is registered twice")
        HANDLERS[name] = handler
        return handler

    return register
