"""The plaintext transport by itself, against a peer that reads and writes as it likes."""

from __future__ import annotations

import asyncio
import random
import socket
import struct

import pytest

from replicator.wire.plain_transport import PlainTransport
from tests.support.eventually import until


class Received(asyncio.BufferedProtocol):
    """Keeps what arrives, and why it ended; gives room for `room` bytes at a time."""

    def __init__(self, room: int = 4) -> None:
        self.data = bytearray()
        self.ended: list[Exception | None] = []
        self._room = memoryview(bytearray(room))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self._room[:nbytes]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.append(exc)


def pair(room: int = 4) -> tuple[PlainTransport, Received, socket.socket]:
    """A transport, whom it reads for, and the other end."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
    received = Received(room)
    return PlainTransport(asyncio.get_running_loop(), ours, received), received, theirs


async def read(theirs: socket.socket, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), bytearray()
    while len(data) < size:
        data += await asyncio.wait_for(loop.sock_recv(theirs, 50_000), 10)
    return bytes(data)


async def test_given_parts_of_any_size_when_the_peer_is_slow_then_all_arrive_in_order() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    transport, _, theirs = pair()
    expected = bytearray()
    for _ in range(40):
        parts = [dice.randbytes(dice.choice((0, 1, 7, 300, 70_000))) for _ in range(dice.choice((1, 3, 700)))]
        expected += b"".join(parts)
        transport.writelines(parts)
        if dice.random() < 0.5:
            got = await read(theirs, dice.randrange(1, max(2, len(expected) // 2)))
            assert expected.startswith(got)
            del expected[: len(got)]
    assert await read(theirs, len(expected)) == expected
    transport.abort()
    theirs.close()


@pytest.mark.parametrize("room", [4, 5, 100_000])
async def test_given_what_the_peer_wrote_before_it_ended_then_it_is_read_and_the_end_is_told(room: int) -> None:
    transport, received, theirs = pair(room)
    data = random.Random(3).randbytes(10_000)
    theirs.send(data)
    theirs.close()
    await until(lambda: bool(received.ended), "the end")
    assert (bytes(received.data), received.ended, transport.is_closing()) == (data, [None], True)


async def test_given_a_reset_then_the_error_is_told_once_and_nothing_is_sent_any_more() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_connection(listener.getsockname())
    theirs, _ = listener.accept()
    ours.setblocking(False)
    received = Received()
    transport = PlainTransport(asyncio.get_running_loop(), ours, received)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    await until(lambda: bool(received.ended), "the end")
    assert isinstance(received.ended[0], ConnectionResetError)
    transport.write(b"late")
    transport.abort()
    await asyncio.sleep(0)
    assert len(received.ended) == 1
    listener.close()


async def test_given_unsent_parts_when_aborted_then_the_peer_gets_no_more_and_sees_the_end() -> None:
    transport, received, theirs = pair()
    transport.writelines([bytes(5_000_000)])
    transport.abort()
    await until(lambda: bool(received.ended), "the end")
    got = bytearray()
    while more := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(theirs, 1 << 20), 10):
        got += more
    assert len(got) < 5_000_000
    theirs.close()
