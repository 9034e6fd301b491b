"""`python -m broker.msk.replicators.listing FILE LINK`: the topics and groups of a link's source, as JSON.

A process of its own, since it logs in as the replicator does.
"""

from __future__ import annotations

import asyncio
import json
import sys

from replicator.config.librdkafka import client_properties
from replicator.config.load import load
from replicator.errors import ReplicatorError
from replicator.sync.admin import Admin


async def _list(file: str, link_name: str) -> dict[str, list[str]]:
    settings = load(file)
    source = settings.link(link_name).source
    admin = Admin(client_properties(settings.clusters[source], client_id="replicator-listing"), source)
    topics = await admin.list_topics()
    groups = await admin.list_groups()
    return {
        "topics": sorted(name for name, topic in topics.items() if not topic.internal),
        "groups": sorted(groups),
    }


def main() -> int:
    """Prints one line; what went wrong goes to standard error, with the error's exit code."""
    try:
        found = asyncio.run(_list(sys.argv[1], sys.argv[2]))
    except ReplicatorError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
