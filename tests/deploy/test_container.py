"""The Dockerfile: a linter's judgement, its promises, and its health check, run as it stands. No image is built."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.deploy.files import ROOT

TEXT = (ROOT / "Dockerfile").read_text()
LAST_STAGE = TEXT[TEXT.rindex("\nFROM ") :].replace("\\\n", " ")


def instructions(name: str) -> list[str]:
    """The arguments of the last stage's instructions of that name."""
    return re.findall(rf"^{name} +(.*)$", LAST_STAGE, re.M)


@pytest.fixture
def service() -> Iterator[tuple[str, dict[str, int]]]:
    """A service whose /healthz answers with the code that the test wants."""
    answers = {"/healthz": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answers.get(self.path, 404))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/healthz", answers
    server.shutdown()
    server.server_close()


def health(url: str) -> int:
    """The exit code of the image's health check, run here."""
    words = json.loads(re.split(r" CMD ", instructions("HEALTHCHECK")[0], maxsplit=1)[1])
    assert words[0] == "python"
    environment = {**os.environ, "REPLICATOR_HEALTH_URL": url}
    done = subprocess.run([sys.executable, *words[1:]], env=environment, capture_output=True, timeout=30, check=False)
    return done.returncode


def test_given_the_dockerfile_when_its_last_stage_is_read_then_nobody_is_root_and_buffers_are_kept() -> None:
    user = instructions("USER")[-1]
    assert user.isdigit()
    assert int(user) > 0
    variables = " ".join(instructions("ENV"))
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        assert re.search(rf"\b{name}=1073741824\b", variables), name
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["replicator"]


def test_given_a_service_when_the_health_check_runs_then_only_a_200_is_health(
    service: tuple[str, dict[str, int]],
) -> None:
    url, answers = service
    assert health(url) == 0
    answers["/healthz"] = 503
    assert health(url) == 1


def test_given_nobody_listening_when_the_health_check_runs_then_it_fails() -> None:
    assert health("http://127.0.0.1:1/healthz") == 1


def test_given_the_build_when_its_context_is_read_then_all_that_it_copies_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [words for line in re.findall(r"^COPY +([^-].*)$", TEXT, re.M) for words in line.split()[:-1]]
    assert copied
    for name in copied:
        assert name in let_in, f"{name} is left out by .dockerignore"
        assert (ROOT / name).exists()
