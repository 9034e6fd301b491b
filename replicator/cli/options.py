"""The options that several verbs share, and what they mean."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from replicator.config.explain import nearest
from replicator.config.load import load_with_warnings
from replicator.config.models import LinkConfig, Settings
from replicator.errors import ConfigurationError


class Output(StrEnum):
    """For people, or for programs."""

    TEXT = "text"
    JSON = "json"


ConfigOption = Annotated[
    Path, typer.Option("-c", "--config", metavar="FILE", envvar="REPLICATOR_CONFIG", help="The configuration file.")
]
LinkOption = Annotated[str | None, typer.Option("--link", metavar="NAME", help="Only this link; default: all.")]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="For people, or for programs.")]
WatchOption = Annotated[
    bool, typer.Option("--watch", "-w", help="Refresh until interrupted (JSON: a line per refresh).")
]

DEFAULT_CONFIG = Path("replicator.yaml")


def load_links(
    config: Path, link: str | None, *, ways_back: bool = True
) -> tuple[Settings, tuple[LinkConfig, ...], tuple[str, ...]]:
    """Settings, the links asked for, and the file's warnings; ConfigurationError for a link that isn't in it.

    Without `ways_back`, links with `reverse_of` are meant only where they are named.
    """
    loaded = load_with_warnings(config)
    settings = loaded.settings
    if link is None:
        meant = tuple(each for each in settings.links if ways_back or each.reverse_of is None)
        return settings, meant, loaded.warnings
    try:
        return settings, (settings.link(link),), loaded.warnings
    except KeyError:
        names = [item.name for item in settings.links]
        raise ConfigurationError(
            f"--link {link}: {config} has no such link{nearest(link, names)} (it has {', '.join(names)})"
        ) from None
