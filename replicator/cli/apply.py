"""`replicator apply`: let the running workers read the configuration again, and see that all have the same."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption, load_links
from replicator.cli.output import console, print_json, warn
from replicator.config.difference import FIXED, KeyChange, fingerprint, key_changes, section_of
from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.dr.desk import operator
from replicator.errors import WrongStateError
from replicator.ledger.cluster_side import REQUEST_TIMEOUT_S, ClusterSide
from replicator.ledger.configuration import (
    ConfigurationRecords,
    Reload,
    Reloaded,
    answer_key,
    encode_reload,
    reload_key,
)
from replicator.ledger.control_client import ControlClient
from replicator.ledger.lanes import group_id
from replicator.telemetry import logs

_DIFFERS = 1
_PAUSE_S = 0.3


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one link: `agreed` workers now work by this file, `wrong` are those that don't, and why;
    `silent` haven't answered."""

    link: str
    changes: tuple[KeyChange, ...] = ()
    workers: int = 0
    agreed: int = 0
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def silent(self) -> int:
        """How many haven't answered."""
        return max(0, self.workers - self.agreed - len(self.wrong))


def apply(
    config: ConfigOption = DEFAULT_CONFIG,
    link: LinkOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for workers.")
    ] = 60.0,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let all running workers read their configuration file again, without a restart, and check that it is this one.

    Each worker reads its own file: bring it to their machines first. Settings of `service` count from the next start.
    """
    logs.configure(level="ERROR")
    settings, links, warnings = load_links(config, link)
    warn(warnings)
    found = [_apply(settings, item, dry_run, wait) for item in links]
    if output is Output.JSON:
        print_json({"links": [{**asdict(one), "silent": one.silent} for one in found], "dry_run": dry_run})
    else:
        for one in found:
            _show(one, dry_run)
    differs = any(one.changes for one in found) if dry_run else any(one.wrong or one.silent for one in found)
    if differs:
        raise typer.Exit(_DIFFERS)


def _apply(settings: Settings, link: LinkConfig, dry_run: bool, wait_s: float) -> Applied:
    cluster = settings.clusters[link.target]
    properties = client_properties(cluster, client_id=f"replicator-{link.name}-apply")
    with ControlClient(properties, link.name, cluster=link.target) as control:
        if not control.exists():
            return Applied(link.name)
        records = ConfigurationRecords()
        _take(records, control)
        section = section_of(link)
        changes = tuple(key_changes(records.in_force, section)) if records.in_force is not None else ()
        if fixed := [change for change in changes if change.key in FIXED]:
            raise WrongStateError(
                f"link {link.name}: {fixed[0].key} can't be changed from {fixed[0].before} to {fixed[0].after}: what "
                "the link knows is kept by it; make a new link under another name"
            )
        side = ClusterSide(cluster, link.target, f"replicator-{link.name}-apply", REQUEST_TIMEOUT_S)
        workers = len(side.members(group_id(link.name)))
        if dry_run or not workers:
            return Applied(link.name, changes, workers)
        command = Reload(uuid.uuid4(), operator(), int(time.time() * 1000))
        control.write([encode_reload(command)])
        answers = _answers(records, control, command, workers, time.monotonic() + wait_s)
        control.write([(reload_key(command.id), None), *((answer_key(a.id, a.worker), None) for a in answers)])
    wrong = {a.worker: _what_is_wrong(a) for a in answers if a.error or a.fingerprint != fingerprint(section)}
    return Applied(link.name, changes, workers, len(answers) - len(wrong), wrong)


def _answers(
    records: ConfigurationRecords, control: ControlClient, command: Reload, workers: int, deadline: float
) -> list[Reloaded]:
    while True:
        _take(records, control)
        answers = [answer for answer in records.answers.values() if answer.id == command.id]
        if len(answers) >= workers or time.monotonic() >= deadline:
            return answers
        time.sleep(_PAUSE_S)


def _take(records: ConfigurationRecords, control: ControlClient) -> None:
    for key, value in control.read():
        records.take(key, value)


def _what_is_wrong(answer: Reloaded) -> str:
    return answer.error or "its file says something else of this link: bring this one there, and apply again"


def _show(found: Applied, dry_run: bool) -> None:
    out = console()
    for change in found.changes:
        out.print(f"{found.link}: {change.key}: {_text(change.before)} -> {_text(change.after)}")
    if dry_run and not found.changes:
        out.print(f"{found.link}: nothing would change.")
    elif not found.workers:
        out.print(f"{found.link}: no worker runs it; it counts from when one starts.")
    elif not dry_run:
        out.print(f"{found.link}: {found.agreed} of {found.workers} workers work by this file.")
    for worker, what in found.wrong.items():
        out.print(f"{found.link}: worker {worker}: {what}")
    if not dry_run and found.silent:
        out.print(f"{found.link}: {found.silent} workers haven't answered; apply again when they run.")


def _text(value: Any) -> str:
    return json.dumps(value)
