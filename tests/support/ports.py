"""Free TCP ports for servers that can't be asked to choose their own."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_LOWEST = 12000


def free_ports(count: int) -> list[int]:
    """`count` loopback ports that were free a moment ago.

    They lie below the range the system gives to outgoing connections, so that a server that is stopped and started
    again doesn't find its port taken by somebody's client.
    """
    try:
        ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        ephemeral = 32768
    highest = max(ephemeral, _LOWEST + 4096)
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(_LOWEST, highest)
        if port not in ports and _is_free(port):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
