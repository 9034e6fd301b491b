"""`python -m examples.archive.sample BOOTSTRAP`: writes orders (Avro), clicks (JSON), and some broken records."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import struct
import sys
from pathlib import Path

import fastavro
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

_SCHEMAS = Path(__file__).parent / "schemas"
_START_MS = 1_790_000_000_000
_COUNT = 1_000


def order(number: int) -> bytes:
    """One order in Confluent's wire format; every other one by a writer that knows the newer schema."""
    schema_id = 1 + number % 2
    schema = fastavro.parse_schema(json.loads((_SCHEMAS / f"{schema_id}.avsc").read_text()), named_schemas={})
    placed = datetime.datetime.fromtimestamp((_START_MS + number) / 1000, datetime.UTC)
    value = {"id": number, "customer": f"c{number % 7}", "amount": decimal.Decimal(number) / 100, "placed": placed}
    stream = io.BytesIO(struct.pack(">bI", 0, schema_id))
    stream.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(
        stream, schema, value | ({"status": "PAID", "items": ["a", "b"]} if schema_id == 2 else {})
    )
    return stream.getvalue()


def main() -> int:
    """Create the topics if they aren't there, and write."""
    settings = {"bootstrap.servers": sys.argv[1]}
    admin = AdminClient(settings)
    for future in admin.create_topics([NewTopic("us.orders", 2, 1), NewTopic("us.clicks", 1, 1)]).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise
    producer = Producer({**settings, "enable.idempotence": "true"})
    for number in range(_COUNT):
        when = _START_MS + number * 200_000  # two days and a bit
        producer.produce("us.orders", order(number), str(number).encode(), timestamp=when, partition=number % 2)
        producer.produce("us.clicks", json.dumps({"page": number}).encode(), timestamp=when)
    for broken in (b"\x00\x00\x00\x00\x09nobody knows schema 9", b"no magic byte"):
        producer.produce("us.orders", broken, partition=0, timestamp=_START_MS + _COUNT * 200_000)
    producer.produce("us.clicks", b'{"page": ', timestamp=_START_MS + _COUNT * 200_000)
    left: int = producer.flush(30)
    print(f"{_COUNT} orders, {_COUNT} clicks and 3 that can't be decoded" if not left else f"{left} not written")
    return min(left, 1)


if __name__ == "__main__":
    sys.exit(main())
