"""How long log-ins by IAM take when many come at once.

    python -m bench.log_ins

200 clients connect to one node of the bundled broker (its own process) at the same time, over TLS: with a token
(OAUTHBEARER), with the payload of AWS_MSK_IAM, with SCRAM-SHA-512, and without a log-in. Seconds from the first
connection's beginning until each has been answered a metadata request; the best of some rounds.
"""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scramp import ScramClient

from tests.broker.test_clients_iam import World
from tests.broker.test_file_cluster import payload, token
from tests.support.file_bundled import FileBundled
from tests.support.rawclient import RawClient

CLIENTS, ROUNDS = 200, 5
LogIn = Callable[[RawClient], None]


def _tokens() -> LogIn:
    shown = f"n,,\x01auth=Bearer {token()[0]}\x01\x01".encode()
    return lambda raw: _messages(raw, "OAUTHBEARER", shown)


def _payloads() -> LogIn:
    shown = payload("127.0.0.1")
    return lambda raw: _messages(raw, "AWS_MSK_IAM", shown)


def _scram(raw: RawClient) -> None:
    client = ScramClient(["SCRAM-SHA-512"], "bob", "of-bob")
    (first,) = _messages(raw, "SCRAM-SHA-512", client.get_client_first().encode())
    client.set_server_first(first.decode())
    assert raw.call("sasl_authenticate", 2, auth_bytes=client.get_client_final().encode()).error_code == 0


def _messages(raw: RawClient, mechanism: str, *messages: bytes) -> list[bytes]:
    assert raw.call("sasl_handshake", 1, mechanism=mechanism).error_code == 0
    answers = [raw.call("sasl_authenticate", 2, auth_bytes=message) for message in messages]
    assert not any(answer.error_code for answer in answers)
    return [bytes(answer.auth_bytes) for answer in answers]


def _round(bootstrap: str, tls: ssl.SSLContext, log_in: LogIn) -> list[float]:
    together = threading.Barrier(CLIENTS + 1)
    began = 0.0

    def talk() -> float:
        together.wait(60)
        with RawClient(bootstrap, timeout=60.0, tls=tls) as raw:
            log_in(raw)
            assert raw.call("metadata", 12, topics=[]).brokers
            taken = time.perf_counter() - began
            together.wait(60)  # all stay connected until the last one is there
            return taken

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(talk) for _ in range(CLIENTS)]
        began = time.perf_counter()
        together.wait(60)
        together.wait(60)
        return sorted(each.result() for each in running)


def main() -> None:
    """Print a line for each way in."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        protocol = {"protocol": "SASL_SSL"}
        world.content["listeners"] += [
            {"name": "SCRAM", "mechanisms": ["SCRAM-SHA-512"]} | protocol,
            {"name": "TLS", "protocol": "SSL"},
        ]
        world.content["scram_users"] = {"bob": {"password": "of-bob"}}
        world.file.write_text(json.dumps(world.content))
        tls = ssl.create_default_context(cafile=str(world.authority.certificate))
        ways: list[tuple[str, str, LogIn]] = [
            ("OAUTHBEARER", "CLIENT_IAM", _tokens()),
            ("AWS_MSK_IAM", "CLIENT_IAM", _payloads()),
            ("SCRAM-SHA-512", "SCRAM", _scram),
            ("no log-in", "TLS", lambda _: None),
        ]
        with FileBundled(world.file) as cluster:
            best = {name: [float("inf")] * CLIENTS for name, _, _ in ways}
            for _ in range(ROUNDS):
                for name, listener, log_in in ways:
                    best[name] = min(
                        best[name], _round(cluster.bootstrap[listener], tls, log_in), key=lambda each: each[-1]
                    )
        for name, taken in best.items():
            middle, last = taken[CLIENTS // 2], taken[-1]
            print(
                f"{name}: {CLIENTS} clients at once, the middle one after {middle:.2f} s, the last after {last:.2f} s"
            )


if __name__ == "__main__":
    main()
