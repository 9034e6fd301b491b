"""What may trouble a link: all that `check` looks at, and more."""

from __future__ import annotations

import asyncio
from typing import Any

from replicator.config.checks import find_warnings
from replicator.config.models import LinkConfig, Settings
from replicator.config.tree import dotted
from replicator.examine.doctor import diagnose
from replicator.examine.finding import as_json, of_configuration


def read_diagnosis(settings: Settings, link: LinkConfig) -> dict[str, Any]:
    """`{"ok", "findings"}`; takes minutes where clusters are slow, and one that is away is a finding. Changes nothing.

    The configuration's warnings come first, by key: which lines of which file they are about isn't known here.
    """
    warnings = [f"{dotted(each.path)}: {each.text}" for each in find_warnings(settings)]
    return as_json([*of_configuration(warnings), *asyncio.run(diagnose(settings, [link]))])
