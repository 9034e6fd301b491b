"""What a replicator's process runs: `replicator`, which ends when the control plane does, in whatever way.

The control plane holds the other end of standard input. When that closes, the control plane is gone; the next one
starts its replicators itself.
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
    """Entry point; arguments are those of `replicator`."""
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    from replicator.cli.main import main as replicator_main

    replicator_main()


if __name__ == "__main__":
    main()
