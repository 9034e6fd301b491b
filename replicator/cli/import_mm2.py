"""`replicator import-mm2`: MirrorMaker 2's configuration as ours, and its stored positions into our ledger."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from replicator.cli.output import complain
from replicator.config.load import load_with_warnings
from replicator.config.mm2_import import Flow, Imported
from replicator.config.mm2_import import import_mm2 as converted
from replicator.config.models import LinkConfig
from replicator.config.properties import MAX_BYTES
from replicator.errors import ConfigurationError, WrongStateError
from replicator.telemetry import logs

FileArgument = Annotated[
    Path, typer.Argument(metavar="mm2.properties", help="The file that MirrorMaker was started with.")
]
OutputFileOption = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to; default: standard output.")
]


def import_mm2(
    properties: FileArgument,
    output: OutputFileOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    positions: Annotated[
        bool,
        typer.Option(
            "--positions",
            help="Take over the positions that MirrorMaker has stored, so that its copies go on where it stopped: all "
            "of its processes must be stopped. Uses FILE as it is, or writes it first.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --positions: show the positions, and write nothing.")
    ] = False,
) -> None:
    """Turn MirrorMaker 2's configuration into this program's, and go on where it stopped.

    What has no equivalent is listed on standard error, and at the head of the file. Secrets aren't copied: the file
    refers to environment variables, and the list says which.
    """
    if dry_run and not positions:
        raise typer.BadParameter("belongs to --positions", param_hint="--dry-run")
    if positions and output is None:
        raise typer.BadParameter("is needed: name the configuration that the link runs with", param_hint="-o")
    imported = converted(_read(properties), str(properties))
    if positions and output is not None and output.exists() and not force:
        _take_positions(output, imported, dry_run)
        return
    for note in imported.notes:
        complain(str(note), word="note", style="yellow")
    if output is None:
        typer.echo(imported.yaml, nl=False)
    else:
        _write(output, imported, force)
        typer.echo(f"{output} written: read the notes in it, then `replicator check -c {output}`.")
        if positions:
            _take_positions(output, imported, dry_run)


def _take_positions(config: Path, imported: Imported, dry_run: bool) -> None:
    from replicator.dr.mm2_links import take_links

    logs.configure(level="ERROR")
    settings = load_with_warnings(config).settings
    flows = [(link, flow) for flow in imported.flows for link in settings.links if _is_of(link, flow)]
    for flow in imported.flows:
        if not any(each is flow for _, each in flows):
            raise ConfigurationError(f"{config}: has no link from {flow.source} to {flow.target}")
    ambiguous = 0
    for link, taken in asyncio.run(take_links(settings, flows, dry_run=dry_run)):
        will = "would get" if dry_run else "have got"
        typer.echo(
            f"link {link}: {taken.stored} stored positions; {taken.partitions} partitions {will} an entry in the "
            f"ledger{f', {taken.ambiguous} of them stopped: see `replicator status`' if taken.ambiguous else ''}"
            f"{f'; groups go on from what MirrorMaker wrote ({taken.groups})' if taken.groups else ''}."
        )
        ambiguous += taken.ambiguous
    if not dry_run:
        typer.echo(f"`replicator run -c {config}` goes on from there. Don't start MirrorMaker again.")
    raise typer.Exit(1 if ambiguous else 0)


def _is_of(link: LinkConfig, flow: Flow) -> bool:
    return (link.source, link.target) == (flow.source, flow.target)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read: {error.strerror or error}") from error


def _write(path: Path, imported: Imported, force: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with open(os.open(path, flags, 0o644), "w", encoding="utf-8") as file:
            file.write(imported.yaml)
    except FileExistsError as error:
        raise WrongStateError(f"{path}: is there already; give another name with -o, or --force") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be written: {error.strerror or error}") from error
