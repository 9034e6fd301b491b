"""The verbs that a process with workers offers over HTTP: all, and the drill, which has workers of its own."""

from __future__ import annotations

from typing import Any

from replicator.verbs.drilling import drill_verb
from replicator.verbs.table import VERBS
from replicator.verbs.verb import Verb
from replicator.worker.crew import crew

OFFERED: dict[str, Verb[Any]] = {**VERBS, "drill": drill_verb(crew)}
