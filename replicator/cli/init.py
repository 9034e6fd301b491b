"""`replicator init`: write a commented configuration file to start from."""

from __future__ import annotations

from typing import Annotated

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption
from replicator.config.template import TEMPLATE
from replicator.errors import ConfigurationError, WrongStateError


def init(
    config: ConfigOption = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented configuration file to start from."""
    try:
        with config.open("w" if force else "x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError as error:
        raise WrongStateError(f"{config}: is there already; give another name with -c, or --force") from error
    except OSError as error:
        raise ConfigurationError(f"{config}: can't be written: {error.strerror or error}") from error
    typer.echo(f"{config} written: name your clusters and links in it, then `replicator check -c {config}`.")
