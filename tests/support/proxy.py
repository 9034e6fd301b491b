"""A TCP proxy in front of a node, which can keep answers to itself: what was asked is done, and nobody hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self

_CHUNK = 1 << 16


class Proxy:
    """Listens on `port` of loopback and passes everything on to `to`; a context manager, with a thread of its own."""

    def __init__(self, port: int, to: int) -> None:
        self.swallowed = 0  # bytes of answers that never arrived
        self._port = port
        self._to = to
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def swallow(self) -> None:
        """From now on no answer arrives; requests still do."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def heal(self) -> None:
        """Cut all connections, and pass everything on again."""

        def heal() -> None:
            self._passing.set()
            for writer in self._writers:
                writer.close()

        self._loop.call_soon_threadsafe(heal)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            self._writers.discard(writer)
            writer.close()
            return
        self._writers.add(there_writer)
        await asyncio.gather(
            self._pass(reader, there_writer, answers=False), self._pass(there_reader, writer, answers=True)
        )

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if answers and not self._passing.is_set():
                    self.swallowed += len(chunk)
                    continue
                writer.write(chunk)
                await writer.drain()
        if answers:
            await self._passing.wait()  # the end of a connection is an answer too
        self._writers.discard(writer)
        writer.close()

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
