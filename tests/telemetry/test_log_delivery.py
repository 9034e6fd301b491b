"""Log lines reach a file, CloudWatch Logs, Firehose and S3, and whoever logs never waits for that."""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog

from replicator.config.load import load_text
from replicator.config.telemetry import LogBucketConfig, LogDeliveryConfig, LogGroupConfig, LogStreamConfig
from replicator.telemetry import logs
from replicator.telemetry.log_delivery import Buffer, Line, LogDelivery, NotDelivered
from replicator.telemetry.log_destinations import Aws, DeliveryStream, LogGroup
from tests.support.waiting import wait_for
from tests.telemetry.conftest import aws

NOW_MS = int(time.time() * 1000)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Place:
    """A destination that takes lines, fails when told, or hangs."""

    name = "place"
    max_lines, max_bytes, line_bytes, every_s = 10, 1000, 1, 0.0

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.failures = 0
        self.half = False
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    @property
    def lines(self) -> list[str]:
        return [line for batch in self.batches for line in batch]

    def deliver(self, lines: Sequence[Line]) -> None:
        self.entered.set()
        assert self.open.wait(20)
        if self.failures:
            self.failures -= 1
            raise NotDelivered("no", lines)
        if self.half and len(lines) > 1:
            self.half = False
            self.batches.append([lines[0].text.decode()])
            raise NotDelivered("some", lines[2:], refused=1)
        self.batches.append([line.text.decode() for line in lines])


def line(text: str) -> Line:
    return Line(NOW_MS, text.encode())


def buffer(place: Place, max_bytes: int = 10_000) -> Buffer:
    return Buffer(place, max_bytes, backoff_s=(0.01,))


def test_given_lines_then_they_arrive_in_order_in_batches_within_the_limits() -> None:
    place = Place()
    place.open.clear()
    waiting = buffer(place)
    for number in range(35):
        waiting.add(line(f"{number:099d}"))
    place.open.set()
    waiting.close()
    waiting.join(10)
    assert place.lines == [f"{number:099d}" for number in range(35)]
    assert max(len(batch) for batch in place.batches) <= 10
    assert (waiting.counters.sent, waiting.counters.dropped) == (35, {})


def test_given_a_destination_that_hangs_then_logging_does_not_wait_and_what_is_too_much_is_counted_and_said() -> None:
    place = Place()
    place.open.clear()
    waiting = buffer(place, max_bytes=1000)
    began = time.monotonic()
    for number in range(1000):
        waiting.add(line(f"{number:0100d}"))
    assert time.monotonic() - began < 1
    assert waiting.counters.dropped == {"full": 990}
    place.open.set()
    wait_for(lambda: waiting.counters.sent == 10, within=10, what="what there was room for is sent", every=0.01)
    waiting.add(line("after"))
    wait_for(lambda: "after" in place.lines, within=10, what="it goes on", every=0.01)
    said = json.loads(place.lines[-2])
    assert (said["event"], said["lines"]) == ("log lines were dropped", 990)
    waiting.close()


def test_given_failures_then_the_same_lines_are_tried_again_and_none_is_lost_or_doubled() -> None:
    place = Place()
    place.failures = 3
    waiting = buffer(place)
    for number in range(5):
        waiting.add(line(str(number)))
    wait_for(lambda: waiting.counters.sent == 5, within=10, what="all are sent", every=0.01)
    assert place.lines == ["0", "1", "2", "3", "4"]
    assert waiting.counters.failures == 3
    waiting.close()


def test_given_a_batch_of_which_a_part_is_refused_then_the_rest_is_tried_again() -> None:
    place = Place()
    place.open.clear()
    waiting = buffer(place)
    waiting.add(line("first"))
    assert place.entered.wait(10)
    for text in ("taken", "refused", "later"):
        waiting.add(line(text))
    place.half = True
    place.open.set()
    wait_for(lambda: waiting.counters.sent == 3, within=10, what="the rest is sent", every=0.01)
    assert place.lines == ["first", "taken", "later"]
    assert waiting.counters.dropped == {"refused": 1}
    waiting.close()


def test_given_an_end_while_nothing_answers_then_it_is_waited_for_no_longer_than_told() -> None:
    place = Place()
    place.open.clear()
    delivery = LogDelivery([place])
    logs.configure(json=True, delivery=delivery)
    structlog.get_logger("a").info("hello")
    began = time.monotonic()
    delivery.finish(0.2)
    assert time.monotonic() - began < 5
    place.open.set()


def test_given_events_then_lines_are_json_without_secrets_whatever_the_terminal_shows() -> None:
    place = Place()
    delivery = LogDelivery([place])
    logs.configure(json=False, worker="w1", delivery=delivery)
    structlog.get_logger("a").info("logged in", password="hunter2", link="l")
    try:
        raise ValueError("sasl.password=hunter2")
    except ValueError:
        structlog.get_logger("a").exception("failed")
    logging.getLogger("b").warning("from %s", "elsewhere")
    delivery.finish(10)
    first, second, third = map(json.loads, place.lines)
    assert (first["event"], first["link"], first["worker"], first["password"]) == ("logged in", "l", "w1", "***")
    assert "ValueError" in second["exception"]
    assert third["event"] == "from elsewhere"
    assert "hunter2" not in "".join(place.lines)


def test_given_a_level_then_what_is_less_is_not_delivered() -> None:
    place = Place()
    delivery = LogDelivery([place], level="WARNING")
    logs.configure(json=True, delivery=delivery)
    structlog.get_logger("a").info("quiet")
    structlog.get_logger("a").warning("loud")
    delivery.finish(10)
    assert [json.loads(text)["event"] for text in place.lines] == ["loud"]


def test_given_a_huge_line_then_its_beginning_is_delivered() -> None:
    place = Place()
    place.max_bytes = 1 << 20
    delivery = LogDelivery([place])
    logs.configure(json=True, delivery=delivery)
    structlog.get_logger("a").info("x" * 3_000_000)
    delivery.finish(10)
    (said,) = map(json.loads, place.lines)
    assert said["event"] == "log line was too long"
    assert said["bytes"] > 3_000_000
    assert len(place.lines[0]) < 250_000


# ---- a file


def deliver_to_file(path: Path, events: int, **settings: Any) -> None:
    config = LogDeliveryConfig.model_validate({"log_file": {"path": str(path), **settings}})
    delivery = LogDelivery.of(config, "w0")
    logs.configure(json=True, delivery=delivery)
    for number in range(events):
        structlog.get_logger("a").info("event", number=number, padding="x" * 1000)
    delivery.finish(10)


def test_given_a_file_then_each_worker_has_its_own_and_full_ones_are_kept(tmp_path: Path) -> None:
    for _ in range(4):
        deliver_to_file(tmp_path / "replicator.log", 50, max_bytes=1 << 16, keep=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["replicator.w0.log", "replicator.w0.log.1", "replicator.w0.log.2"]
    for name in names:
        assert (tmp_path / name).stat().st_size <= 1 << 16
        assert all(json.loads(text)["event"] == "event" for text in (tmp_path / name).read_text().splitlines())


def test_given_a_file_that_can_not_be_written_then_that_is_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = LogDeliveryConfig.model_validate({"log_file": {"path": str(tmp_path / "no" / "where.log")}})
    delivery = LogDelivery.of(config, None)
    logs.configure(json=True, delivery=delivery)
    structlog.get_logger("a").info("event")
    delivery.finish(10)
    assert delivery.counters["file"].failures > 0
    assert delivery.counters["file"].sent == 0
    assert "log lines aren't delivered to file" in capsys.readouterr().err


def test_given_a_configuration_then_the_files_path_is_relative_to_it() -> None:
    text = "clusters: {a: {bootstrap_servers: 'a:1'}, b: {bootstrap_servers: 'b:1'}}\n"
    text += "links: [{name: l, source: a, target: b, topics: {include: [t]}}]\n"
    text += "service: {log_delivery: {log_file: {path: ~/x.log}}, cloudwatch: {namespace: Mine}}\n"
    service = load_text(text).settings.service
    assert service.log_delivery is not None
    assert service.log_delivery.log_file is not None
    assert service.log_delivery.log_file.path == str(Path("~/x.log").expanduser())


# ---- AWS


def delivered(url: str, **where: Any) -> LogDelivery:
    config = LogDeliveryConfig.model_validate({"region": "us-east-1", "endpoint_url": url, **where})
    delivery = LogDelivery.of(config, "w0")
    logs.configure(json=True, delivery=delivery)
    for number in range(3):
        structlog.get_logger("a").info("event", number=number)
    delivery.finish(30)
    return delivery


def test_given_a_log_group_then_each_process_writes_a_stream_of_its_own(aws_url: str) -> None:
    client = aws("logs", aws_url)
    client.create_log_group(logGroupName="replicator")
    delivery = delivered(aws_url, cloudwatch_logs={"log_group": "replicator"})
    (stream,) = client.describe_log_streams(logGroupName="replicator")["logStreams"]
    events = client.get_log_events(logGroupName="replicator", logStreamName=stream["logStreamName"])["events"]
    assert [json.loads(event["message"])["number"] for event in events] == [0, 1, 2]
    assert "-w0-" in stream["logStreamName"]
    assert delivery.counters["cloudwatch_logs"].sent == 3


def test_given_a_log_group_that_is_not_there_then_lines_wait_and_that_is_counted(aws_url: str) -> None:
    config = LogDeliveryConfig.model_validate({"region": "us-east-1", "endpoint_url": aws_url})
    group = LogGroup(LogGroupConfig(log_group="nowhere"), "me", Aws("logs", config))
    with pytest.raises(NotDelivered, match="log group") as refusal:
        group.deliver([line("{}")])
    assert refusal.value.left == [line("{}")]
    aws("logs", aws_url).create_log_group(logGroupName="nowhere")
    group.deliver([line("{}")])


def test_given_lines_of_several_days_then_each_request_spans_less_than_one() -> None:
    requests: list[list[int]] = []

    class Client:
        class exceptions:
            class ResourceAlreadyExistsException(Exception):
                pass

        def create_log_stream(self, **_: Any) -> None:
            raise self.exceptions.ResourceAlreadyExistsException

        def put_log_events(self, *, logEvents: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
            requests.append([event["timestamp"] for event in logEvents])
            return {"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1}} if len(requests) == 1 else {}

    class Given(Aws):
        def client(self) -> Any:
            return Client()

    group = LogGroup(LogGroupConfig(log_group="g"), "me", Given("logs", LogDeliveryConfig()))
    day_ms = 86_400_000
    days = [Line(NOW_MS + day * day_ms, b"{}") for day in (2, 0, 1)] + [Line(NOW_MS + 5, b"{}")]
    with pytest.raises(NotDelivered) as refusal:
        group.deliver(days)
    assert refusal.value.refused == 1
    group.deliver(refusal.value.left)
    assert requests == [[NOW_MS, NOW_MS + 5], [NOW_MS + day_ms], [NOW_MS + 2 * day_ms]]


def test_given_a_bucket_then_objects_hold_the_lines(aws_url: str) -> None:
    client = aws("s3", aws_url)
    client.create_bucket(Bucket="logs-bucket")
    delivered(aws_url, s3={"bucket": "logs-bucket", "prefix": "dr/"})
    (found,) = client.list_objects_v2(Bucket="logs-bucket")["Contents"]
    assert found["Key"].startswith("dr/20")
    body = gzip.decompress(client.get_object(Bucket="logs-bucket", Key=found["Key"])["Body"].read())
    assert [json.loads(text)["number"] for text in body.splitlines()] == [0, 1, 2]


def test_given_a_delivery_stream_then_each_line_is_a_record(aws_url: str) -> None:
    aws("s3", aws_url).create_bucket(Bucket="firehose-bucket")
    target = {"RoleARN": "arn:aws:iam::123456789012:role/f", "BucketARN": "arn:aws:s3:::firehose-bucket"}
    aws("firehose", aws_url).create_delivery_stream(
        DeliveryStreamName="logs", ExtendedS3DestinationConfiguration=target
    )
    delivery = delivered(aws_url, firehose={"delivery_stream": "logs"})
    assert delivery.counters["firehose"].sent == 3
    stored = aws("s3", aws_url)
    (found,) = stored.list_objects_v2(Bucket="firehose-bucket")["Contents"]
    body = stored.get_object(Bucket="firehose-bucket", Key=found["Key"])["Body"].read()
    assert [json.loads(text)["number"] for text in body.splitlines()] == [0, 1, 2]


def test_given_records_that_fail_one_by_one_then_those_alone_are_left() -> None:
    class Client:
        def put_record_batch(self, **_: Any) -> dict[str, Any]:
            failed = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow down"}
            return {"FailedPutCount": 1, "RequestResponses": [{"RecordId": "1"}, failed, {"RecordId": "3"}]}

    class Given(Aws):
        def client(self) -> Any:
            return Client()

    stream = DeliveryStream(LogStreamConfig(delivery_stream="s"), Given("firehose", LogDeliveryConfig()))
    with pytest.raises(NotDelivered, match="ServiceUnavailable") as refusal:
        stream.deliver([line("a"), line("b"), line("c")])
    assert [left.text for left in refusal.value.left] == [b"b"]


def test_given_a_bucket_that_is_not_there_then_lines_are_left(aws_url: str) -> None:
    config = LogDeliveryConfig.model_validate(
        {"region": "us-east-1", "endpoint_url": aws_url, "s3": {"bucket": "gone"}}
    )
    assert isinstance(config.s3, LogBucketConfig)
    (bucket,) = LogDelivery.of(config, None)._buffers
    with pytest.raises(NotDelivered, match="NoSuchBucket"):
        bucket._destination.deliver([line("{}")])
