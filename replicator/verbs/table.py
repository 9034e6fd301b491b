"""All verbs that the API offers. A new one is one entry here: its path and its description then have it."""

from __future__ import annotations

from typing import Any

from replicator.verbs.comparing import VERIFY
from replicator.verbs.ending import REMOVE
from replicator.verbs.holding import PAUSE, RESUME
from replicator.verbs.moving import FAILOVER, PROMOTE, RESTORE
from replicator.verbs.turning import REVERSE
from replicator.verbs.verb import Verb

VERBS: dict[str, Verb[Any]] = {
    verb.name: verb for verb in (PAUSE, RESUME, PROMOTE, FAILOVER, RESTORE, REVERSE, VERIFY, REMOVE)
}
