"""What may trouble a link: all that `check` looks at, and more."""

from __future__ import annotations

import asyncio
from typing import Any

from replicator.config.checks import find_warnings
from replicator.config.models import LinkConfig, Settings
from replicator.config.tree import dotted
from replicator.examine.doctor import diagnose
from replicator.examine.finding import Finding, as_json, of_configuration
from replicator.examine.findings import examine


def read_diagnosis(settings: Settings, link: LinkConfig) -> dict[str, Any]:
    """`{"ok", "findings"}`; takes minutes where clusters are slow, and one that is away is a finding. Changes nothing.

    The configuration's warnings come first, by key: which lines of which file they are about isn't known here.
    """
    return as_json([*_of_configuration(settings), *asyncio.run(diagnose(settings, [link]))])


def read_examination(settings: Settings, link: LinkConfig) -> dict[str, Any]:
    """The part of it that copying needs: what `check` looks at."""
    return as_json([*_of_configuration(settings), *asyncio.run(examine(settings, [link]))])


def _of_configuration(settings: Settings) -> list[Finding]:
    return of_configuration([f"{dotted(each.path)}: {each.text}" for each in find_warnings(settings)])
