"""Producer ids: unique in the cluster, also after a restart."""

from __future__ import annotations

import json

from broker.storage.files import Files

BLOCK = 1000
FILE = "producer-ids.json"


class ProducerIds:
    """Takes ids from blocks of 1000; a block is on disk before its first id is given out, like Kafka's."""

    def __init__(self, files: Files) -> None:
        self._files = files
        content = files.read_all(FILE)
        self._next = self._end = 0 if content is None else int(json.loads(content)["next_block"])

    def take(self) -> int:
        """An id that was never given out before. Raises OSError when the block can't be written down."""
        if self._next == self._end:
            self._files.write_all(FILE, json.dumps({"next_block": self._end + BLOCK}).encode())
            self._end += BLOCK
        self._next += 1
        return self._next - 1
