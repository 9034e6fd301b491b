"""Where stranded records are saved instead of being copied: files, or a topic on the target."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from replicator.config.librdkafka import ADMINISTRATOR, client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.dr.compare import Record
from replicator.dr.reader import Side
from replicator.errors import ConfigurationError, WrongStateError
from replicator.ledger.client_errors import replicator_error

ORIGIN_HEADER = "replicator.stranded"  # of a record in a recovery topic: link, topic, partition, offset, with colons

_TIMEOUT_S = 60.0
_LARGEST_BYTES = 128 << 20
_SETTINGS = {"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": str(_LARGEST_BYTES)}


@dataclass(frozen=True, slots=True)
class Stranded:
    """Of one partition: `records` committed records between these offsets of the old source, exclusive at the end."""

    topic: str
    partition: int
    source_from: int
    source_to: int
    records: int


class Saver(Protocol):
    """A place for them; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def save(self, reader: Side, stranded: Stranded) -> str:
        """Save what is stranded of a partition, and return where it is. Harmless to repeat."""
        ...


class Files:
    """One file of JSON lines for each partition, bytes in base64."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __str__(self) -> str:
        return str(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def save(self, reader: Side, stranded: Stranded) -> str:
        """The file is there when it is whole."""
        file = self._directory / f"{stranded.topic}-{stranded.partition}.jsonl"
        unfinished = file.with_suffix(".part")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with unfinished.open("w", encoding="ascii") as out:
                for record in _records(reader, stranded):
                    out.write(json.dumps(_as_json(record), separators=(",", ":")) + "\n")
            unfinished.replace(file)
        except OSError as error:
            raise WrongStateError(f"can't write {unfinished}: {error.strerror}; nothing was changed") from error
        return str(file)


class RecoveryTopic:
    """A topic on the target, made with one partition and without an end to its retention if it isn't there.

    Records are as they were, with one header more that says where they are from (`ORIGIN_HEADER`); what is there
    already isn't written again.
    """

    def __init__(self, settings: Settings, link: LinkConfig, name: str, copies: set[str]) -> None:
        if name in copies:
            raise ConfigurationError(f"{name} is a copy of link {link.name}: name another topic to save records to")
        self._link, self._name = link, name
        self._cluster = settings.clusters[link.target]
        client_id = f"replicator-{link.name}-restore"
        self._properties = client_properties(self._cluster, client_id=client_id)
        self._group = f"replicator.{link.name}.reader"
        self._there: set[bytes] = set()
        self._refused: list[KafkaError] = []

    def __str__(self) -> str:
        return f"topic {self._name} on {self._link.target}"

    def __enter__(self) -> Self:
        self._create()
        with Side(self._link.target, self._cluster, client_id="replicator-restore", group=self._group) as reader:
            places = [(self._name, number) for number in range(reader.partitions().get(self._name, 1))]
            starts, ends = reader.starts(places), reader.ends(places)
            for at in places:
                for record in reader.read(at, starts[at], ends[at]):
                    self._there.update(value or b"" for name, value in record.headers if name == ORIGIN_HEADER)
        self._producer = Producer(
            {**self._properties, "enable.idempotence": True, "linger.ms": 5, "message.max.bytes": _LARGEST_BYTES}
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._producer.purge()

    def save(self, reader: Side, stranded: Stranded) -> str:
        """ReplicatorError if not all of them are there for certain: what is there then isn't written again."""
        where = f"{self._link.name}:{stranded.topic}:{stranded.partition}"
        for record in _records(reader, stranded):
            origin = f"{where}:{record.offset}".encode()
            if origin not in self._there:
                self._there.add(origin)
                self._produce(record, origin)
        if self._producer.flush(_TIMEOUT_S) and not self._refused:
            self._refused.append(KafkaError(KafkaError._TIMED_OUT))
        if self._refused:
            action = f"save {stranded.topic}-{stranded.partition} to topic {self._name}"
            raise replicator_error(self._refused[0], cluster=self._link.target, action=action, resource=self._name)
        return self._name

    def _produce(self, record: Record, origin: bytes) -> None:
        headers = [*record.headers, (ORIGIN_HEADER, origin)]
        while True:
            try:
                self._producer.produce(
                    self._name, record.value, record.key, headers=headers, timestamp=max(0, record.timestamp_ms),
                    on_delivery=self._delivered,
                )  # fmt: skip
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, _: Any) -> None:
        if error is not None:
            self._refused.append(error)

    def _create(self) -> None:
        admin = AdminClient({**self._properties, **ADMINISTRATOR})
        new = NewTopic(self._name, 1, self._link.replication_factor or -1, config=_SETTINGS)
        try:
            admin.create_topics([new], operation_timeout=_TIMEOUT_S)[self._name].result(_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                action = f"create topic {self._name}"
                raise replicator_error(
                    error.args[0], cluster=self._link.target, action=action, resource=self._name
                ) from error


def _records(reader: Side, stranded: Stranded) -> Any:
    return reader.read((stranded.topic, stranded.partition), stranded.source_from, stranded.source_to)


def _as_json(record: Record) -> dict[str, Any]:
    return {
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": [[name, _text(value)] for name, value in record.headers],
    }


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
