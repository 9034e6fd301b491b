"""An address of its own for each broker, so that all can have MSK's ports: 127.A.B.N, N being the broker's number.

All of 127.0.0.0/8 is there on Linux without set-up. Where it isn't (macOS), brokers share 127.0.0.1, and the broker
process takes free ports.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection
from random import Random

SHARED = "127.0.0.1"
FIRST, LAST = 64, 127  # of the second byte: away from what others use on loopback
ATTEMPTS = 100
PROBED = (9092, 9094, 9096, 9098)


def choose_network(taken: Collection[str], entropy: Random) -> str:
    """A prefix such as `127.93.17.` that nobody has; `127.0.0.1` where the system has no others. Raises OSError."""
    for _ in range(ATTEMPTS):
        network = f"127.{entropy.randint(FIRST, LAST)}.{entropy.randint(0, 255)}."
        if network in taken:
            continue
        free = _free(network + "1")
        if free is None:
            return SHARED
        if free:
            return network
    raise OSError(errno.EADDRINUSE, "no free loopback network was found")


def address(network: str, number: int) -> str:
    """The address of broker `number`."""
    return network if network == SHARED else f"{network}{number}"


def network_of(address: str) -> str:
    """The network that an address is in."""
    return SHARED if address == SHARED else address.rpartition(".")[0] + "."


def _free(host: str) -> bool | None:
    """Whether MSK's ports are free on an address; None when the system doesn't have the address."""
    for port in PROBED:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                return None if error.errno == errno.EADDRNOTAVAIL else False
    return True
