"""Reads a whole ledger from outside of the workers, with a client of its own: for `status`, `lag` and their like."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from replicator.config.librdkafka import LogIn, require_token
from replicator.errors import UnreachableError
from replicator.ledger.client_errors import is_of_unused_group, replicator_error
from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.desired import DesiredStates
from replicator.ledger.drills import DrillRecords
from replicator.ledger.entry import Entry, decode, decode_key, is_of_known_version
from replicator.ledger.lane_record import LANE_KEY, decode_lane
from replicator.ledger.lane_trouble import LaneTrouble, take_trouble
from replicator.ledger.lanes import control_topic, ledger_topic
from replicator.ledger.sighting import SIGHTING_KEY, Sighting, decode_sighting
from replicator.ledger.sync_report import SyncReport, take_report
from replicator.ledger.topic_problem import StoredProblem, take_problem

READ_LIMIT_S = 30.0
CONTROL = -1  # among the lanes: the control topic
_BATCH = 1_000
_POLL_S = 0.2
_PATIENCE_S = 1.0  # with a connection that may be a good one


class LedgerReader:
    """Follows all partitions of a link's ledger; with `control`, also what the control topic says of lanes and syncers.

    Writes nothing, joins no group; blocking; for one thread at a time. What can't be read is kept in `unreadable`, by
    lane: the other lanes' entries are none the worse for it.
    """

    def __init__(
        self,
        client_properties: dict[str, Any],
        link: str,
        lanes: int,
        *,
        cluster: str = "target",
        control: bool = False,
        desired: DesiredStates | None = None,
    ) -> None:
        self._topic = ledger_topic(link)
        self.unreadable: dict[int, LedgerFormatError] = {}
        self.troubles: dict[int, LaneTrouble] = {}
        self.reports: dict[str, SyncReport] = {}
        self.desired = desired or DesiredStates()
        self.drills = DrillRecords()
        self.sightings: dict[int, Sighting] = {}  # by lane
        self._cluster = cluster
        self._entries: dict[tuple[str, int], Entry] = {}
        self.held_by: dict[tuple[str, int], int] = {}  # the lane that has the entry
        self._undecoded: dict[tuple[int, bytes], bytes | None] = {}  # by lane and key: the newest since the last read
        self.problems: dict[str, StoredProblem] = {}  # as of the last `read`, by source topic
        self._next = dict.fromkeys(range(lanes), 0)
        self._log_in = LogIn(client_properties)
        require_token(client_properties, cluster)
        try:
            self._consumer = Consumer(
                {
                    **client_properties,
                    "group.id": f"replicator.{link}.reader",  # librdkafka wants one; it is never used
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "isolation.level": "read_committed",
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 100,
                    "queued.max.messages.kbytes": 16_384,
                    "max.poll.interval.ms": 86_400_000,  # it isn't a member of a group, and may pause between reads
                }
            )
            places = [TopicPartition(self._topic, lane, 0) for lane in self._next]
            if control:
                self._next[CONTROL] = 0
                places.append(TopicPartition(control_topic(link), 0, 0))
            self._consumer.assign(places)
        except KafkaException as error:
            raise self._error(error.args[0]) from error

    def read(self, ends: dict[int, int]) -> dict[tuple[str, int], Entry]:
        """The entries that hold at `ends` (lane or CONTROL -> last stable offset) or later, by topic and partition.

        Raises UnreachableError when the target doesn't answer within 30 s.
        """
        self._log_in.renew(self._consumer)
        deadline = time.monotonic() + READ_LIMIT_S
        while any(self._next.get(lane, end) < end for lane, end in ends.items()):
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"cluster {self._cluster}: topic {self._topic} wasn't read within {READ_LIMIT_S} s"
                )
            for message in self._consumer.consume(_BATCH, _POLL_S):
                self._take(message)
            if self.outdated and time.monotonic() > deadline - READ_LIMIT_S + _PATIENCE_S:
                raise UnreachableError(
                    f"cluster {self._cluster}: certificates have changed: a new connection is needed"
                )
        self._decode()
        return dict(self._entries)

    @property
    def outdated(self) -> bool:
        """Whether certificates have changed since: only another reader uses the new ones."""
        return self._log_in.certificates_changed

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def _take(self, message: Any) -> None:
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if is_of_unused_group(error):
                return
            raise self._error(error)
        lane = message.partition() if message.topic() == self._topic else CONTROL
        offset = message.offset()
        if error is not None:
            self._next[lane] = max(self._next[lane], offset)  # past markers and compacted records at the end
            return
        self._next[lane] = offset + 1
        key, value = message.key(), message.value()
        if lane == CONTROL:
            take_trouble(self.troubles, key, value)
            take_report(self.reports, key, value)
            self.desired.take(key, value)
            self.drills.take(key, value)
            return
        try:
            self._apply(lane, key, value)
        except LedgerFormatError as unreadable:
            self.unreadable[lane] = unreadable

    def _apply(self, lane: int, key: bytes | None, value: bytes | None) -> None:
        if not key or take_problem(self.problems, key, value):
            return
        if key == SIGHTING_KEY:
            if value is not None:
                self.sightings[lane] = decode_sighting(value)
            return
        if key == LANE_KEY and value is not None:
            decode_lane(value)  # nothing of it is needed here, but a lane whose record can't be read doesn't run
            return
        if value is not None and not is_of_known_version(value):
            decode(key, value)  # it says what is wrong; what was readable before it stays
            return
        self._undecoded.pop((lane, key), None)
        self._undecoded[lane, key] = value

    def _decode(self) -> None:
        """What busy partitions wrote again and again is decoded once."""
        for (lane, key), value in self._undecoded.items():
            try:
                where, entry = decode_key(key), decode(key, value)
            except LedgerFormatError as unreadable:
                self.unreadable[lane] = unreadable
                continue
            if where is None:
                continue
            if entry is not None:
                held = self._entries.get(where)
                if held is None or held.moves <= entry.moves:
                    self._entries[where], self.held_by[where] = entry, lane
            elif self.held_by.get(where) == lane:  # and if it has moved, another lane holds it, or is about to
                del self._entries[where], self.held_by[where]
        self._undecoded.clear()

    def _error(self, error: KafkaError) -> Exception:
        return replicator_error(
            error, cluster=self._cluster, action=f"read the ledger {self._topic}", resource=self._topic
        )
