"""What a cluster's process runs: `replicator-broker`, which ends when the control plane does, in whatever way.

The control plane holds the other end of standard input. When that closes, the control plane is gone, and a cluster that
went on would hold its ports and data against the next one.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Entry point; arguments are those of `replicator-broker`."""
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    from broker.cli import main as broker_main

    broker_main()


if __name__ == "__main__":
    main()
