"""The page about other consumers: the AWS CLI takes its commands' parameters; nothing is sent anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import shell_lines
from tests.support.ports import free_ports

PAGE = "docs/consumers-after-failover.md"


def ask(words: list[str]) -> str:
    """What the command says when nobody listens where it would send its request."""
    environment = {
        "PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_MAX_ATTEMPTS": "1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_ports(1)[0]}", "AWS_CONFIG_FILE": os.devnull,
    }  # fmt: skip
    command = [sys.executable, str(Path(sys.executable).with_name("aws")), *words[1:]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    return done.stderr


@pytest.mark.slow
def test_given_the_pages_aws_commands_when_run_without_aws_then_only_the_way_there_is_missing() -> None:
    lines = [words for words in shell_lines(PAGE) if words[0] == "aws"]
    assert len(lines) == 2
    for words in lines:
        assert "Could not connect to the endpoint URL" in ask(words), words
    wrong = [word.replace("TRIM_HORIZON", "FIRST").replace("ConsumerGroupId", "GroupId") for word in lines[-1]]
    assert "Could not connect" not in ask(wrong), "the check finds what is wrong"
