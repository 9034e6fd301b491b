"""`replicator import-mm2`: MirrorMaker 2's configuration as ours, and its stored positions into our ledger."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from replicator.cli.output import complain
from replicator.config.mm2_import import Imported
from replicator.config.mm2_import import import_mm2 as converted
from replicator.config.properties import MAX_BYTES
from replicator.errors import ConfigurationError, WrongStateError

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
) -> None:
    """Turn MirrorMaker 2's configuration into this program's.

    What has no equivalent is listed on standard error, and at the head of the file. Secrets aren't copied: the file
    refers to environment variables, and the list says which.
    """
    imported = converted(_read(properties), str(properties))
    for note in imported.notes:
        complain(str(note), word="note", style="yellow")
    if output is None:
        typer.echo(imported.yaml, nl=False)
    else:
        _write(output, imported, force)
        typer.echo(f"{output} written: read the notes in it, then `replicator check -c {output}`.")


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
