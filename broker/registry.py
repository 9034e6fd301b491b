"""Which Kafka APIs the broker speaks.

One file per API in `broker/apis/`, registered by decorator on import. To add one, write

    @api(schema=kio.schema.delete_groups, versions=range(0, 3), asks={ResourceType.GROUP})
    async def delete_groups(ctx: RequestContext, request: Any) -> Any:
        ...  # ctx.access.allows(Operation.DELETE, ResourceType.GROUP, name)
        return build(ctx, results=[{"group_id": name, "error_code": 0} for name in request.groups_names])
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kio.index import load_request_schema, load_response_schema
from kio.schema.index import api_key_map

from broker import protocol
from broker.protocol import RawResponse, response_type
from broker.security.resources import ResourceType

if TYPE_CHECKING:
    from broker.node import RequestContext

__all__ = ["APIS", "OPEN", "Api", "RawResponse", "api", "build", "load_apis", "response_type"]

Handler = Callable[["RequestContext", Any], Awaitable[Any]]
Decoder = Callable[[bytes, int, int], Any]


OPEN: frozenset[ResourceType] = frozenset()
"""For `asks`: everybody may use the API, and learns nothing from it that would have to be authorized."""


@dataclass(frozen=True, slots=True)
class Api:
    """One API: its key, Kafka's name for it, the versions served and the code behind it.

    `asks`: the kinds of resources that the code asks `ctx.access` about. None says that nobody has thought about it
    yet: such an API is refused to everybody as long as the cluster has an authorizer.
    """

    key: int
    name: str
    versions: range
    handler: Handler
    decode: Decoder | None
    before_authentication: bool
    asks: frozenset[ResourceType] | None


APIS: dict[int, Api] = {}
_KEYS = {name: key for key, name in api_key_map.items()}


def api(
    *,
    schema: ModuleType,
    versions: range,
    asks: Set[ResourceType] | None = None,
    decode: Decoder | None = None,
    before_authentication: bool = False,
) -> Callable[[Handler], Handler]:
    """Register the decorated coroutine for an API.

    It gets the kio request of exactly the requested version (or what `decode(frame, offset, version)` makes of it)
    and returns the response entity of the same version, a RawResponse, or None for no answer at all.
    """
    key = _KEYS[schema.__name__.rsplit(".", 1)[-1]]

    def register(handler: Handler) -> Handler:
        name = load_request_schema(key, versions[-1]).__name__.removesuffix("Request")
        asked = None if asks is None else frozenset(asks)
        APIS[key] = Api(key, name, versions, handler, decode, before_authentication, asked)
        return handler

    return register


def build(ctx: RequestContext, name: str | None = None, /, **values: Any) -> Any:
    """The response of the version that was requested, from plain values (see `protocol.entity`)."""
    made_type = load_response_schema(ctx.api_key, ctx.api_version)
    if name is not None and made_type.__name__ != name:
        raise TypeError(f"{name} doesn't answer this request; {made_type.__name__} does")
    return protocol.entity(made_type, values)


def load_apis() -> dict[int, Api]:
    """Import every module of `broker.apis` and return the registry."""
    package = importlib.import_module("broker.apis")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"broker.apis.{module.name}")
    return APIS
