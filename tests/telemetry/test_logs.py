"""Logs: one JSON object or one readable line per event, and never a secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import SecretStr

from replicator.telemetry import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_given_no_terminal_then_each_event_is_one_json_object() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, worker="w1")
    structlog.get_logger("a").info("lane taken over", lane=3)
    logging.getLogger("b").warning("broker %s is slow", "n1")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["lane"], first["level"], first["logger"]) == ("lane taken over", 3, "info", "a")
    assert first["timestamp"].endswith("Z")
    assert (second["event"], second["worker"]) == ("broker n1 is slow", "w1")


def test_given_a_human_then_lines_are_readable() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, json=False)
    structlog.get_logger("a").info("lane taken over", lane=3)
    assert "lane taken over" in stream.getvalue()
    assert "lane=3" in stream.getvalue()
    assert "{" not in stream.getvalue()


def test_given_a_level_then_lower_events_are_left_out() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, level="WARNING")
    structlog.get_logger("a").info("quiet")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("as_json", [True, False])
def test_given_secrets_anywhere_then_none_is_written(as_json: bool) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, json=as_json)
    log = structlog.get_logger("a")
    log.info("connecting", secret=SecretStr("hush"), password="hush", properties={"sasl.password": "hush", "port": 1})
    log.info("failed with sasl.password=hush, next", nested=[{"inner": SecretStr("hush")}])
    log.info("asked", headers={"Authorization": "Bearer hush"})
    logging.getLogger("b").warning("header Authorization: Bearer hush")
    try:
        raise ValueError("token=hush")
    except ValueError:
        log.exception("request failed")
    assert "hush" not in stream.getvalue()
    assert "ValueError: token=***" in stream.getvalue()
    assert logs.MASK in stream.getvalue()


def test_given_a_client_library_that_repeats_itself_then_it_is_heard_once_in_a_while() -> None:
    now = [0.0]
    seldom = logs.Seldom(30, lambda: now[0])

    def heard(text: str) -> bool:
        return seldom.filter(logging.LogRecord("x", logging.ERROR, "", 0, text, (), None))

    assert heard("broker 1 down (after 3ms)")
    assert not heard("broker 1 down (after 17ms)")
    assert heard("broker refused")
    now[0] = 30.0
    assert heard("broker 1 down (after 4ms)")


def test_given_a_verb_that_prints_results_then_the_client_library_is_silent() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, level="ERROR")
    logging.getLogger(logs.LIBRDKAFKA).error("connection failed")
    structlog.get_logger("a").error("ours")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["ours"]
