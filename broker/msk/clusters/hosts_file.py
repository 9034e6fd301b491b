"""Host names that this machine knows by its hosts file, where the lines of `--print-hosts` belong."""

from __future__ import annotations

from pathlib import Path

from broker.msk.clusters.listeners import listeners
from broker.msk.clusters.names import host
from broker.msk.records import ClusterRecord


class HostsFile:
    """Read anew when it has changed."""

    def __init__(self, path: Path = Path("/etc/hosts")) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._known: set[tuple[str, str]] = set()

    def resolves(self, name: str, address: str) -> bool:
        """Whether the file gives the name this address."""
        try:
            status = self._path.stat()
            if self._stamp != (status.st_mtime_ns, status.st_size):
                self._known = _read(self._path.read_text("utf-8", "replace"))
                self._stamp = status.st_mtime_ns, status.st_size
        except OSError:  # no hosts file: no names
            return False
        return (name, address) in self._known


def lines(record: ClusterRecord) -> list[str]:
    """The lines that give a cluster's host names their addresses."""
    out = []
    for node in record.nodes:
        names = list(dict.fromkeys(host(record, node, spec.infix) for spec in listeners(record)))
        if record.serverless is not None and node.id != 1:
            continue  # its brokers have one name, which can have one address only
        out.append(f"{node.address} {' '.join(names)}")
    return out


def _read(text: str) -> set[tuple[str, str]]:
    known = set()
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        known |= {(name, words[0]) for name in words[1:]}
    return known
