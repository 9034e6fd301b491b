"""The body of a POST that gives a verb's order: what it may hold, and what it means."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError, create_model

from replicator.errors import ConfigurationError
from replicator.verbs.verb import Order, Verb, what_is_wrong


class Body(BaseModel):
    """What every verb's body has beside the verb's own options."""

    dry_run: bool = Field(default=False, description="Only say what would be done.")
    confirm: str | None = Field(default=None, description="The link's name, which says that you mean it.")


def body_model(verb: Verb[Any]) -> type[BaseModel]:
    """The verb's options and those of all."""
    fields: Any = {name: (field.annotation, field) for name, field in Body.model_fields.items()}
    return create_model(f"{verb.name.title()}Body", __base__=verb.order, **fields)


async def read_order(request: web.Request, verb: Verb[Any], model: type[BaseModel]) -> tuple[Order, Body]:
    """The order, and whether it is meant. ConfigurationError that says what is wrong with it."""
    try:
        given = json.loads(await request.read() or b"{}")
    except ValueError as error:
        raise ConfigurationError(f"the body isn't JSON: {error}") from None
    if not isinstance(given, dict):
        raise ConfigurationError('the body must be a JSON object, such as {"all": true, "dry_run": true}')
    try:
        found = model.model_validate(given).model_dump()
    except ValidationError as error:
        raise ConfigurationError(what_is_wrong(error)) from None
    body = Body(**{name: found.pop(name) for name in Body.model_fields})
    order: Order = verb.order(**found)
    _ = order.choice  # says what is wrong with the topics
    return order, body
