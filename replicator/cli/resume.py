"""`replicator resume`: let topics go on that were paused, and partitions that a gap has stopped."""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from typing import Annotated, Any

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import console, print_json, table
from replicator.cli.pause import show
from replicator.cli.verbs import AllOption, DryRunOption, TopicOption, WaitOption, YesOption, confirm
from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.dr.desk import operator
from replicator.dr.holds import Choice, Held, refuse_released
from replicator.dr.holds import resume as resume_link
from replicator.errors import WrongStateError
from replicator.ledger.control import AcceptGap, FaultedPartition, encode_command
from replicator.ledger.control_client import ControlClient
from replicator.ledger.status import PartitionStatus, read_status_blocking
from replicator.states import Reason, State
from replicator.telemetry import logs
from replicator.worker.gaps import ACCEPTABLE


def resume(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    topic: TopicOption = None,
    everything: AllOption = False,
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="Go on without the data that the reason names; it stays in status.")
    ] = False,
    dry_run: DryRunOption = False,
    wait: WaitOption = 30.0,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Go on with topics that were paused; with --accept-gap, with partitions that a gap in the data has stopped.

    What is missing in a gap stays recorded in the ledger.
    """
    logs.configure(level="ERROR")
    choice = Choice.of(topic, everything)
    settings, links, _ = load_links(config, link, ways_back=False)
    found = [(item, choice.of_status(read_status_blocking(settings, item))) for item in links]
    for item, partitions in found:
        refuse_released(item, partitions, "resume")
    if not accept_gap and any(partition.state == State.PAUSED for _, partitions in found for partition in partitions):
        _release(settings, found, choice, dry_run, wait, output)
        return
    chosen = [(item, _stopped(partitions)) for item, partitions in found]
    stopped = [(item, partition) for item, partitions in chosen for partition in partitions]
    if output is Output.TEXT:
        _show(stopped)
    if not stopped:
        if output is Output.JSON:
            print_json({"accepted": []})
        return
    if not accept_gap:
        raise WrongStateError(
            "these partitions wait for somebody to accept the gap: add --accept-gap to go on without it"
        )
    if not dry_run:
        confirm("The data named above will be missing on the target for good.", yes)
        for item, partitions in chosen:
            if partitions:
                _command(settings, item, partitions)
                _wait(settings, item, partitions, wait)
    if output is Output.JSON:
        print_json({"accepted": [_row(item, partition) for item, partition in stopped], "dry_run": dry_run})
    else:
        console().print("Nothing was changed." if dry_run else f"{len(stopped)} partitions go on.")


def _release(
    settings: Settings,
    found: list[tuple[LinkConfig, list[PartitionStatus]]],
    choice: Choice,
    dry_run: bool,
    wait_s: float,
    output: Output,
) -> None:
    if dry_run:
        paused = [
            (item, tuple((p.topic, p.partition) for p in partitions if p.state == State.PAUSED))
            for item, partitions in found
        ]
        done = [Held(item.name, State.COPYING, places, 0, 0) for item, places in paused]
    else:
        done = [resume_link(settings, item, choice, wait_s=wait_s) for item, _ in found]
    show(done, output, dry_run)


def _stopped(partitions: list[PartitionStatus]) -> list[PartitionStatus]:
    acceptable = {reason.value for reason in ACCEPTABLE}
    return [each for each in partitions if each.state == State.FAULTED and each.reason in acceptable]


def _command(settings: Settings, link: LinkConfig, partitions: list[PartitionStatus]) -> None:
    command = AcceptGap(
        uuid.uuid4(),
        operator(),
        int(time.time() * 1000),
        tuple(FaultedPartition(p.topic, p.partition, Reason(str(p.reason)), _since_ms(p)) for p in partitions),
    )
    properties = client_properties(settings.clusters[link.target], client_id="replicator-resume")
    with ControlClient(properties, link.name, cluster=link.target) as control:
        control.write([encode_command(command)])


def _since_ms(partition: PartitionStatus) -> int:
    since = datetime.fromisoformat(str(partition.since))
    return int(since.timestamp()) * 1000 + since.microsecond // 1000


def _wait(settings: Settings, link: LinkConfig, partitions: list[PartitionStatus], limit_s: float) -> None:
    """Until no partition is in the state any more that the command was given for."""
    deadline = time.monotonic() + limit_s
    waiting = {(p.topic, p.partition): p.since for p in partitions}
    while True:
        now = {(p.topic, p.partition): p.since for p in read_status_blocking(settings, link).partitions}
        left = [at for at, since in waiting.items() if now.get(at) == since]
        if not left:
            return
        if time.monotonic() > deadline:
            raise WrongStateError(
                f"link {link.name}: {len(left)} partitions haven't gone on after {limit_s:g} s, the first of them "
                f"{left[0][0]}-{left[0][1]}; the command stands: start a worker (`replicator run`), then look at "
                "`replicator status`"
            )
        time.sleep(0.5)


def _show(stopped: list[tuple[LinkConfig, PartitionStatus]]) -> None:
    out = console()
    if not stopped:
        out.print("No partition is stopped by a gap.")
        return
    shown = table("LINK", "TOPIC", "PARTITION", "REASON", "WHAT IS MISSING", numbers=frozenset({"PARTITION"}))
    for link, partition in stopped:
        shown.add_row(link.name, partition.topic, str(partition.partition), str(partition.reason), partition.detail)
    out.print(shown)


def _row(link: LinkConfig, partition: PartitionStatus) -> dict[str, Any]:
    return {
        "link": link.name,
        "topic": partition.topic,
        "partition": partition.partition,
        "reason": partition.reason,
        "detail": partition.detail,
    }
