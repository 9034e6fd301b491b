"""Whether renewing log-ins costs latency: a trickle through a link under IAM, its sessions short or long.

    python -m bench.renewing

Two pairs of bundled clusters let the program in by MSK tokens over TLS; one pair ends sessions every 3 s (so that each
of the program's connections authenticates again every 2.6 s or so; MSK's sessions last up to 12 hours), the other not
while this runs. Both copy 500 records of 1 KB a second, in turn; the observer's own clients come by a listener without
log-in. Medians of the rounds.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any, cast

from confluent_kafka.admin import AdminClient

from bench.brokers import Pair
from bench.contestants import Replicator
from bench.latency import Latency, latency
from tests.e2e.test_iam import KEY, SECRET, IamCluster

ROUNDS, SECONDS, RATE = 5, 12.0, 500
SESSIONS_MS = {"short": 3_000, "long": 3_600_000}


class _Cluster(IamCluster):
    """With a second way in for those who look on."""

    def __init__(self, directory: Path, name: str, session_ms: int) -> None:
        super().__init__(directory, name, session_ms)
        file = directory / "cluster.json"
        content = json.loads(file.read_text())
        content["acl_when_no_iam"] = False  # who comes without IAM may do everything
        content["listeners"].append({"name": "OBSERVERS", "protocol": "PLAINTEXT"})
        file.write_text(json.dumps(content))

    @property
    def client_config(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.process.bootstrap["OBSERVERS"], "log_level": 0}

    def admin(self) -> AdminClient:
        return AdminClient(self.client_config)


def main() -> None:
    """Print the latencies with short and with long sessions."""
    os.environ |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    found: dict[str, list[Latency]] = {kind: [] for kind in SESSIONS_MS}
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        directory = Path(scratch)
        pairs: dict[str, Pair] = {}
        for kind, session_ms in SESSIONS_MS.items():
            both = [_Cluster(directory / kind / name, name, session_ms) for name in ("source", "target")]
            for cluster in both:
                stack.enter_context(cluster.process)
            pairs[kind] = Pair(*cast("list[Any]", both))
        for number in range(ROUNDS):
            for kind in list(SESSIONS_MS)[:: 1 if number % 2 else -1]:
                measured = latency(Replicator("exactly_once"), pairs[kind], directory, SECONDS, rates=(RATE,))[RATE]
                found[kind].append(measured)
                print(f"{kind} sessions: p50 {measured.p50_ms:.2f} ms, p99 {measured.p99_ms:.2f} ms", flush=True)
    for kind, rounds in found.items():
        p50, p99 = (statistics.median(getattr(each, name) for each in rounds) for name in ("p50_ms", "p99_ms"))
        print(f"{kind} sessions, median of {ROUNDS}: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


if __name__ == "__main__":
    main()
