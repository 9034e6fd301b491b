"""The proxy itself: a delay that costs no rate, a window that does, and what never arrives."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.eventually import until
from tests.support.ports import free_ports
from tests.support.proxy import Proxy

DELAY_S = 0.05


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that sends back what it reads."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 18):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield int(server.sockets[0].getsockname()[1])
    server.close()


async def test_given_a_delay_then_everything_arrives_later_in_order_and_as_fast(echo: int) -> None:
    data = os.urandom(24 << 20)
    with Proxy(free_ports(1)[0], echo, delay_s=DELAY_S) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address, limit=1 << 20)
        began = time.monotonic()
        writer.write(b"?")
        assert await reader.readexactly(1) == b"?"
        assert time.monotonic() - began >= 2 * DELAY_S
        began = time.monotonic()
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        chunks = len(data) / (256 << 10)
        assert time.monotonic() - began < chunks * DELAY_S  # they travel together
        writer.close()
        await until(lambda: not proxy.ends, "the end of the connection on both sides")


async def test_given_a_window_then_no_more_is_under_way(echo: int) -> None:
    data, window, delay = bytes(1 << 20), 128 << 10, 0.02
    with Proxy(free_ports(1)[0], echo, delay_s=delay, window_bytes=window) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address, limit=1 << 20)
        began = time.monotonic()
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        assert time.monotonic() - began >= len(data) / window * delay
        writer.close()


async def test_given_a_stall_then_nothing_passes_until_it_ends(echo: int) -> None:
    with Proxy(free_ports(1)[0], echo) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        proxy.stall()
        await until(lambda: proxy.stalled, "the stall")
        writer.write(b"2")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.1)
        proxy.flow()
        assert await reader.readexactly(1) == b"2"
        writer.close()


async def test_given_swallowed_answers_then_they_are_counted_and_the_end_of_the_connection_waits_too(echo: int) -> None:
    with Proxy(free_ports(1)[0], echo) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)
        proxy.swallow()
        await until(lambda: proxy.swallowing, "swallowing")
        writer.write(b"12")
        await until(lambda: proxy.swallowed == 2, "an answer")
        proxy.heal()
        assert await reader.read() == b""
        writer.close()
