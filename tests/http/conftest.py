"""A server of a made-up world, and a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from replicator.http.access import Token
from replicator.http.refusals import Refusals
from replicator.http.server import serve, urls
from tests.http.world import World

Serving = Callable[..., Awaitable[str]]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def serving(world: World) -> AsyncIterator[Serving]:
    runners: list[web.AppRunner] = []

    async def started(*tokens: Token, refusals: Refusals | None = None) -> str:
        runner = await serve(
            world, "127.0.0.1:0", tokens=tokens, views=world.views, verbs=world.verbs, refusals=refusals
        )
        runners.append(runner)
        return urls(runner)[0]

    yield started
    world.may_end.set()
    await asyncio.gather(*(runner.cleanup() for runner in runners))


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
