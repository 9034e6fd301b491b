"""`replicator demo`: two bundled clusters, orders written into one, and a replicator that brings them to the other."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from replicator.cli.demo_orders import OrderReader, OrderWriter, Tally
from replicator.cli.output import console, count
from replicator.config.librdkafka import client_properties
from replicator.config.models import ClusterConfig
from replicator.errors import ReplicatorError, UnreachableError
from replicator.telemetry import logs

_TOPIC, _COPY, _PARTITIONS = "orders", "us.orders", 6
_START_TIMEOUT_S = 30.0
_CATCH_UP_S = 15.0
_END_S = 4.0
_PORTS = (8080, 8081, 8082)  # tried first, because they are easy to type


def demo(
    seconds: Annotated[float | None, typer.Option("--seconds", min=0, help="End by itself after so long.")] = None,
    rate: Annotated[int, typer.Option("--rate", min=1, max=50_000, help="Orders per second.")] = 500,
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=9, help="Brokers of each cluster.")] = 3,
) -> None:
    """Two bundled clusters, orders in one, their copies in the other: see it work. Ctrl-C ends it."""
    logs.configure(level="ERROR")
    tally = asyncio.run(_demo(seconds, rate, nodes))
    if tally.missing or tally.arrived < tally.produced:
        raise typer.Exit(1)


async def _demo(seconds: float | None, rate: int, nodes: int) -> Tally:
    out = console()
    tally = Tally()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replicator-demo-")))
        out.print(f"Starting two clusters of {nodes} bundled brokers each…")
        us, eu = await asyncio.gather(
            *(stack.enter_async_context(_broker(directory, name, nodes)) for name in ("us", "eu"))
        )
        await asyncio.to_thread(_create_topic, us)
        config, page = _write_config(directory, us, eu)
        properties = [_properties(address) for address in (us, eu)]
        writer = OrderWriter(properties[0], _TOPIC, _PARTITIONS, rate, tally)
        reader = OrderReader(properties[1], _COPY, _PARTITIONS, tally)
        stack.callback(reader.stop)
        stack.callback(writer.stop)
        reader.start()
        await stack.enter_async_context(_replicator(directory, config))
        if not await _flowing(tally, page, stop, writer):
            return tally
        out.print(f"Records flow from us ({us.split(',')[0]}) to eu ({eu.split(',')[0]}).")
        out.print(f"Page, metrics and API: {page}")
        out.print(f"Try in another terminal: replicator status --watch -c {config}")
        await _show(tally, page, stop, seconds)
        writer.stop()
        await _catch_up(tally)
    out.print(_summary(tally))
    return tally


@contextlib.asynccontextmanager
async def _broker(directory: Path, name: str, nodes: int) -> AsyncIterator[str]:
    """A bundled cluster as a child process; gives its bootstrap addresses."""
    command = ["-m", "broker.cli", "run", "--listen", "127.0.0.1:0", "--nodes", str(nodes)]
    async with _child(directory, name, command) as process:
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), _START_TIMEOUT_S)
        except TimeoutError:
            line = b""
        if not line.strip():
            raise UnreachableError(f"bundled cluster {name} didn't start: {_last_words(directory, name)}")
        yield line.decode().strip()


@contextlib.asynccontextmanager
async def _replicator(directory: Path, config: Path) -> AsyncIterator[None]:
    async with _child(directory, "replicator", ["-m", "replicator.cli.main", "run", "-c", str(config)]) as process:
        yield
        if process.returncode is not None:
            raise ReplicatorError(f"the replicator ended by itself: {_last_words(directory, 'replicator')}")


@contextlib.asynccontextmanager
async def _child(directory: Path, name: str, arguments: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process that logs into `directory` and is ended, nicely if it can, when the block is left."""
    with (directory / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _END_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: also when we are killed


def _last_words(directory: Path, name: str) -> str:
    lines = (directory / f"{name}.log").read_text(errors="replace").strip().splitlines()
    return "\n".join(lines[-5:]) or "it said nothing"


def _properties(address: str) -> dict[str, Any]:
    return client_properties(ClusterConfig(bootstrap_servers=address), client_id="replicator-demo")


def _create_topic(address: str) -> None:
    admin = AdminClient(_properties(address))
    future = admin.create_topics([NewTopic(_TOPIC, _PARTITIONS, 1)])[_TOPIC]
    try:
        future.result(_START_TIMEOUT_S)
    except KafkaException as error:
        raise UnreachableError(f"bundled cluster us: can't create topic {_TOPIC}: {error.args[0]}") from error


def _write_config(directory: Path, us: str, eu: str) -> tuple[Path, str]:
    address = f"127.0.0.1:{_free_port()}"
    path = directory / "replicator.yaml"
    document = {
        "clusters": {"us": {"bootstrap_servers": us}, "eu": {"bootstrap_servers": eu}},
        "links": [{"name": "us-to-eu", "source": "us", "target": "eu"}],
        "service": {"http": address},
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path, f"http://{address}"


def _free_port() -> int:
    for port in (*_PORTS, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UnreachableError("no free port on 127.0.0.1")


async def _flowing(tally: Tally, page: str, stop: asyncio.Event, writer: OrderWriter) -> bool:
    """Wait until the replicator is ready, start to write, wait until orders arrive; False if stopped before."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    writing = False
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        while not stop.is_set():
            if tally.arrived:
                return True
            if not writing and await _ready(session, page):
                writer.start()
                writing = True
            if tally.failure or time.monotonic() > deadline:
                raise ReplicatorError(tally.failure or f"no order has arrived within {_START_TIMEOUT_S:.0f} s")
            await asyncio.sleep(0.1)
    return False


async def _ready(session: aiohttp.ClientSession, page: str) -> bool:
    try:
        async with session.get(f"{page}/readyz") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _show(tally: Tally, page: str, stop: asyncio.Event, seconds: float | None) -> None:
    """Show the tally until we are stopped: in place on a terminal, a line per second elsewhere."""
    out = console()
    began = time.monotonic()
    rates = _rates(tally)
    live: contextlib.AbstractContextManager[Live | None]
    live = Live(console=out, auto_refresh=False, transient=True) if out.is_terminal else contextlib.nullcontext()
    with live as screen:
        while not stop.is_set() and (seconds is None or time.monotonic() - began < seconds):
            if screen is not None:
                screen.update(_picture(tally, page, next(rates)), refresh=True)
            else:
                out.print(_line(tally, next(rates)))
            pause = 0.5 if screen is not None else 1.0
            if seconds is not None:
                pause = min(pause, max(0.0, began + seconds - time.monotonic()))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)


def _rates(tally: Tally) -> Iterator[float]:
    """Orders that arrived per second since the last time it was asked."""
    before, at = tally.arrived, time.monotonic()
    while True:
        arrived, now = tally.arrived, time.monotonic()
        yield (arrived - before) / max(now - at, 0.001)
        before, at = arrived, now


async def _catch_up(tally: Tally) -> None:
    """Give what is on its way the time to arrive."""
    for _ in range(int(_CATCH_UP_S / 0.02)):
        if tally.arrived >= tally.produced:
            return
        await asyncio.sleep(0.02)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _line(tally: Tally, rate: float) -> str:
    return (
        f"orders produced {count(max(tally.produced, tally.arrived))}, arrived {count(tally.arrived)}, "
        f"lag {count(max(0, tally.produced - tally.arrived))}, {rate:,.0f}/s, "
        f"latency p50 {_ms(tally.percentile(0.5))}, p99 {_ms(tally.percentile(0.99))}"
    )


def _picture(tally: Tally, page: str, rate: float) -> RenderableType:
    figures = Table.grid(padding=(0, 4))
    for _ in range(6):
        figures.add_column(justify="right")
    figures.add_row(*(Text(word, style="dim") for word in ("produced", "arrived", "lag", "per second", "p50", "p99")))
    lag = max(0, tally.produced - tally.arrived)
    numbers = (count(max(tally.produced, tally.arrived)), count(tally.arrived), count(lag), f"{rate:,.0f}")
    times = (_ms(tally.percentile(0.5)), _ms(tally.percentile(0.99)))
    figures.add_row(*(Text(number, style="bold") for number in (*numbers, *times)))
    orders = Table(title="Latest orders to arrive in eu", title_justify="left", title_style="bold", box=None)
    for name in ("partition", "number", "customer", "city", "item", "pieces", "after"):
        orders.add_column(
            name, justify="left" if name in ("city", "item") else "right", style="cyan" if name == "item" else ""
        )
    for order in list(tally.last):
        names = ("partition", "number", "customer", "city", "item", "pieces")
        orders.add_row(*(str(order[name]) for name in names), _ms(order["latency_ms"]))
    heading = Text.assemble(
        ("us", "bold"), " orders  ━━▶  ", ("eu", "bold"), " us.orders     ", (page, "blue underline")
    )
    return Group(Text(), heading, Text(), figures, Text(), orders, Text(), Text("Ctrl-C ends the demo.", style="dim"))


def _summary(tally: Tally) -> str:
    late = tally.produced - tally.arrived - tally.missing
    faults = [
        f"{count(number)} {word}"
        for number, word in ((tally.missing, "missing"), (tally.repeated, "repeated"), (late, "not yet copied"))
        if number > 0
    ]
    verdict = ", ".join(faults) or "each once and in order"
    return f"{count(tally.produced)} orders written to us, {count(tally.arrived)} arrived in eu: {verdict}."
