"""`replicator run`: copy until told to stop; one worker in this process, or several children of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import structlog
import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, load_links
from replicator.config.models import LinkConfig, Settings
from replicator.errors import ReplicatorError
from replicator.http.access import tokens_of
from replicator.http.aggregate import AggregateService
from replicator.http.server import serve
from replicator.telemetry import logs
from replicator.telemetry.counters import OutboxCounters
from replicator.worker.offered import OFFERED
from replicator.worker.pool import WorkerPool

if TYPE_CHECKING:
    from replicator.telemetry.log_delivery import LogDelivery

log = structlog.get_logger(__name__)

_ORPHAN_GRACE_S = 8.0
_LAST_LINES_S = 1.0  # for log lines that aren't delivered yet at the end

Read = Callable[[], tuple[Settings, tuple[LinkConfig, ...]]]
Unknown = Literal["refuse", "adopt", "from scratch"]  # what to do about copies that the ledger doesn't know


def run(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=256, help="Worker processes on this host.")] = 1,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR.")
    ] = "INFO",
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Go on behind copies that the ledger doesn't know (its topic is lost; MirrorMaker 2 made them): "
            "the place is found by what the records hold. Does nothing where the ledger knows them.",
        ),
    ] = False,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch",
            help="Copy everything again, behind what copies hold, if the ledger knows nothing at all.",
        ),
    ] = False,
    child_socket: Annotated[str | None, typer.Option("--child-socket", hidden=True)] = None,
    child_name: Annotated[str | None, typer.Option("--child-name", hidden=True)] = None,
) -> None:
    """Copy until interrupted. Start it on as many machines as you like: they share the work.

    Ready when http://ADDRESS/readyz answers 200 (service.http in the file). SIGHUP and `replicator apply` make it read
    the file again; what hasn't changed goes on meanwhile.
    """
    level = log_level.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise typer.BadParameter("must be DEBUG, INFO, WARNING or ERROR", param_hint="--log-level")
    if adopt and from_scratch:
        raise typer.BadParameter("choose one of --adopt and --from-scratch", param_hint="--adopt")
    unknown: Unknown = "adopt" if adopt else "from scratch" if from_scratch else "refuse"
    settings, links, warnings = load_links(config, link)
    delivery = _delivery(settings, child_name)
    logs.configure(level=level, worker=child_name, delivery=delivery)
    if child_socket is None:
        for warning in warnings:
            log.warning(warning)

    def read() -> tuple[Settings, tuple[LinkConfig, ...]]:
        return load_links(config, link)[:2]

    try:
        if workers == 1 or child_socket is not None:
            sent = delivery.counters if delivery is not None else {}
            asyncio.run(_work(settings, links, child_socket, unknown, read, sent))
        else:
            asyncio.run(_lead(settings, links, _child_command(config, link, level), workers, unknown, read))
    finally:
        if delivery is not None:
            delivery.finish(_LAST_LINES_S)


def _delivery(settings: Settings, worker: str | None) -> LogDelivery | None:
    config = settings.service.log_delivery
    if config is None:
        return None
    from replicator.telemetry.log_delivery import LogDelivery

    return LogDelivery.of(config, worker)


async def _work(
    settings: Settings,
    links: tuple[LinkConfig, ...],
    child_socket: str | None,
    unknown: Unknown,
    read: Read,
    logs_sent: dict[str, OutboxCounters],
) -> None:
    from replicator.worker.service import run_worker

    with _signals() as (stop, reload):
        if child_socket is not None:
            _stop_with_parent(stop)
        elif not await _prepared(settings, links, unknown, stop):
            return
        http = child_socket or settings.service.http
        await run_worker(settings, links, http=http, stop=stop, read=read, reload=reload, logs=logs_sent)


async def _lead(
    settings: Settings,
    links: tuple[LinkConfig, ...],
    command: Sequence[str],
    workers: int,
    unknown: Unknown,
    read: Read,
) -> None:
    service = settings.service
    with tempfile.TemporaryDirectory(prefix="replicator-") as directory, _signals() as (stop, reload):
        if not await _prepared(settings, links, unknown, stop):
            return

        def child(name: str, socket: str) -> Sequence[str]:
            return [*command, "--child-name", name, "--child-socket", f"unix:{socket}"]

        pool = WorkerPool(child, workers, Path(directory))
        now = {link.name: (settings, link) for link in links}
        face = AggregateService(pool.children, pool.restarts, lambda: now)
        tokens = tokens_of(service)
        runner = await serve(
            face,
            service.http,
            tokens=tokens,
            cert_file=service.cert_file,
            key_file=service.key_file,
            verbs=OFFERED,
        )
        reloading = asyncio.create_task(_pass_on(reload, read, pool, now), name="pass on reloads")
        try:
            await pool.run(stop)
        finally:
            reloading.cancel()
            await runner.cleanup()


async def _pass_on(
    reload: asyncio.Event, read: Read, pool: WorkerPool, now: dict[str, tuple[Settings, LinkConfig]]
) -> None:
    """Each child reads the file for itself, once it is known to be usable; `now` are the links that it names."""
    while True:
        await reload.wait()
        reload.clear()
        try:
            settings, links = await asyncio.to_thread(read)
        except ReplicatorError as error:
            log.error("the configuration can't be used; going on as before", error=str(error))
            continue
        now.clear()
        now.update({link.name: (settings, link) for link in links})
        for process in pool.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGHUP)


async def _prepare(settings: Settings, links: tuple[LinkConfig, ...], unknown: Unknown) -> None:
    """Refuse links that would write the same topics, and deal with copies that the ledger doesn't know."""
    if len(settings.links) > 1:
        from replicator.sync.overlap import refuse_overlaps

        await refuse_overlaps(settings, links)
    if unknown != "refuse":
        from replicator.dr.adopt_links import prepare_links

        await prepare_links(settings, links, from_scratch=unknown == "from scratch")


async def _prepared(settings: Settings, links: tuple[LinkConfig, ...], unknown: Unknown, stop: asyncio.Event) -> bool:
    """What is to be done and known before any worker looks; False if told to stop meanwhile."""
    preparing = asyncio.create_task(_prepare(settings, links, unknown), name="prepare")
    stopping = asyncio.create_task(stop.wait(), name="wait for stop")
    try:
        await asyncio.wait([preparing, stopping], return_when=asyncio.FIRST_COMPLETED)
        if preparing.done():
            await preparing
            return True
        return False
    finally:
        for task in (preparing, stopping):
            task.cancel()
        await asyncio.gather(preparing, stopping, return_exceptions=True)


def _child_command(config: Path, link: str | None, level: str) -> list[str]:
    command = [sys.executable, "-m", "replicator.cli.main", "run", "-c", str(config), "--log-level", level]
    return [*command, "--link", link] if link is not None else command


@contextlib.contextmanager
def _signals() -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """An event that SIGTERM and SIGINT set (a second one ends the process at once), and one that SIGHUP sets."""
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(name: str) -> None:
        if stop.is_set():
            log.warning("stopping at once", signal=name)
            os._exit(130)
        log.info("stopping", signal=name)
        stop.set()

    watched = (signal.SIGTERM, signal.SIGINT)
    for number in watched:
        loop.add_signal_handler(number, asked, number.name)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    try:
        yield stop, reload
    finally:
        for number in (*watched, signal.SIGHUP):
            loop.remove_signal_handler(number)


def _stop_with_parent(stop: asyncio.Event) -> None:
    """Stop when standard input ends: the parent is gone. A loop that hangs then doesn't keep the process alive."""
    loop = asyncio.get_running_loop()

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.set)
        threading.Event().wait(_ORPHAN_GRACE_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
