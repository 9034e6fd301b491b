"""The exporters that a cluster file asks for, as it is now: open monitoring can be switched while a cluster runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from broker.cluster_file import ClusterFileError, MetricsEntry
from broker.metrics.server import serve_metrics

if TYPE_CHECKING:
    from broker.file_cluster import FileCluster


class FileExporters:
    """Of one process. `follow` brings them in line with the file."""

    def __init__(self, made: FileCluster) -> None:
        self._made = made
        self._entry: MetricsEntry | None = None
        self._open = contextlib.AsyncExitStack()
        self.places: dict[int, str] = {}
        """Where each node's JMX exporter is."""

    async def follow(self) -> None:
        """Begin, end, or move. ClusterFileError if an address isn't free; then there are none."""
        entry = self._made.file.metrics
        if entry == self._entry:
            return
        await self.close()
        if entry is None:
            return
        jmx_port, node_port = entry.jmx_port, entry.node_port
        of_machine = None if node_port is None else lambda node_id: self._place(node_id, node_port)
        served = serve_metrics(self._made.cluster, lambda node_id: self._place(node_id, jmx_port), of_machine)
        try:
            self.places = await self._open.enter_async_context(served)
        except OSError as error:
            raise ClusterFileError(f"{self._made.path}: metrics: can't listen: {error.strerror or error}") from error
        self._entry = entry

    async def close(self) -> None:
        """End them."""
        self._entry, self.places = None, {}
        await self._open.aclose()

    def _place(self, node_id: int, port: int) -> tuple[str, int]:
        """On the node's own address; where it has none, as on systems but Linux, any free port of the shared one."""
        file = self._made.file
        own = next(node.host for node in file.nodes if node.id == node_id)
        host = self._made.cluster.nodes[node_id].hosts.get(file.listeners[0].name, own)
        return host, port if host == own else 0
