"""Which lanes this worker owns: membership in an ordinary consumer group on the link's ledger topic.

A consumer of confluent-kafka, in a thread of its own, subscribes to the ledger topic and never fetches: its partitions
are the lanes. Kafka's group protocol is the failure detection:

A. A process that dies or is frozen is missed by the coordinator after the session timeout (6 s).
B. An event loop that hangs is noticed by the thread, which polls only after the loop has answered a tick: after
   `HANG_LIMIT_S` without an answer it leaves the group by itself. If even the thread hangs, librdkafka leaves after
   `max.poll.interval.ms` (8 s): its own threads heartbeat whatever happens to ours.
C. A lane that is revoked in an orderly rebalance is given up only after `on_revoked` returned, or after 5 s.
D. `owned` never contains a lane that the thread knows to be lost, whether or not the loop has heard of it yet, and is
   empty while the thread can't know: a loop that wakes up reads the truth there before it writes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from replicator.config.librdkafka import LogIn, require_token
from replicator.errors import ReplicatorError
from replicator.ledger.client_errors import replicator_error

SESSION_TIMEOUT_MS = 6_000  # the brokers' default lower bound (group.min.session.timeout.ms)
MAX_POLL_INTERVAL_MS = 8_000  # with half a second of librdkafka's timer and a rebalance: below 10 s
HEARTBEAT_INTERVAL_MS = 1_000  # so fast do the others hear of a rebalance
HANG_LIMIT_S = 5.0
FLUSH_LIMIT_S = 5.0
CLOSE_LIMIT_S = 1.0
STOP_LIMIT_S = 10.0
SUSPENDED_S = SESSION_TIMEOUT_MS / 2000  # a thread that made no step for so long was suspended
DOUBT_S = 2.0  # after which librdkafka has heard from the coordinator whether the lanes are still ours
_POLL_S = 0.1
_LEAVE_LIMIT_S = 2.0
_REJOIN_BACKOFF_S = (1.0, 30.0)
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps

Lanes = set[int]
Callback = Callable[[Lanes], Awaitable[None]]

_log = structlog.get_logger(__name__)


def _now() -> float:
    return time.clock_gettime(_CLOCK)


class Membership:
    """This worker's place in the link's group.

    The callbacks run on `loop`, one at a time, in the order of the events; they should be quick: start lanes, don't
    wait for them. `on_revoked` is waited for (5 s at most) before the lanes go to somebody else: flush there. `on_lost`
    comes when they are gone already, also after an `on_revoked` that took too long: stop, write nothing. A callback
    that raises makes the worker leave the group, so that its lanes run elsewhere, and join again after a pause of 1 s
    that doubles up to 30 s.
    """

    def __init__(
        self,
        client_properties: dict[str, Any],
        group: str,
        topic: str,
        loop: asyncio.AbstractEventLoop,
        on_assigned: Callback,
        on_revoked: Callback,
        on_lost: Callback,
        *,
        cluster: str = "target",
    ) -> None:
        self._properties = client_properties
        self._log_in = LogIn(client_properties)
        self._failed_to_connect = False
        self._group = group
        self._topic = topic
        self._loop = loop
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._on_lost = on_lost
        self._cluster = cluster
        self._log = _log.bind(group=group, cluster=cluster)
        self._owned: frozenset[int] = frozenset()
        self._joined = False
        self._last_error: ReplicatorError | None = None
        self._callback_failed = False
        self._callbacks_in_order = asyncio.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._made: Consumer | None = None  # until the thread has it
        self._ended: asyncio.Future[None] = loop.create_future()
        self._alive_at = _now()
        self._doubt_until = 0.0

    @property
    def joined(self) -> bool:
        """Whether this worker is a member with an assignment, be it an empty one."""
        return self._joined

    @property
    def owned(self) -> frozenset[int]:
        """The lanes that this worker may write for now; may be read from any thread.

        After the process was suspended it is empty for up to two seconds, until it is certain whether the lanes are
        still ours; if they are, no callback is called.
        """
        return frozenset() if self.in_doubt else self._owned

    @property
    def in_doubt(self) -> bool:
        """Whether the process was suspended, and it isn't certain yet which lanes are still ours."""
        now = _now()
        return now - self._alive_at > SUSPENDED_S or now < self._doubt_until

    @property
    def last_error(self) -> ReplicatorError | None:
        """What keeps this worker out of the group; None while it is a member."""
        return None if self._joined else self._last_error

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when the thread has ended: by `stop()`, or with the error that ended it."""
        return self._ended

    async def make_ready(self) -> None:
        """Make the client, which takes a second where it logs in with tokens; `start` does it otherwise.

        ReplicatorError for settings that librdkafka refuses."""
        await asyncio.to_thread(require_token, self._properties, self._cluster)
        self._made = await asyncio.to_thread(self._consumer)

    async def start(self) -> None:
        """Begin to join the group. Returns at once; raises ReplicatorError as `make_ready` does."""
        if self._thread is not None:
            raise RuntimeError("the membership was started before")
        if self._made is None:
            await self.make_ready()
        consumer, self._made = self._made, None
        name = f"membership {self._group}"
        self._thread = threading.Thread(target=self._run, args=(consumer,), name=name, daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Give up the lanes (after `on_revoked`), leave the group and end the thread. Waits 10 s at most."""
        self._stopping.set()
        self._made = None
        if self._thread is not None:
            done, _ = await asyncio.wait([self._ended], timeout=STOP_LIMIT_S)
            if not done:
                self._log.warning("leaving the group takes too long; not waiting for it", waited_s=STOP_LIMIT_S)
        self._owned = frozenset()
        self._joined = False

    # Everything below runs in the thread, unless it says otherwise.

    def _consumer(self) -> Consumer:
        properties = {
            **self._properties,
            **self._log_in.properties(),
            "group.id": self._group,
            "group.protocol": "classic",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": HEARTBEAT_INTERVAL_MS,
            "max.poll.interval.ms": MAX_POLL_INTERVAL_MS,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "latest",
            "queued.min.messages": 1,
            "topic.metadata.refresh.interval.ms": 30_000,
            "error_cb": self._note_error,
        }
        try:
            return Consumer(properties)
        except KafkaException as error:
            raise self._translate(error.args[0], "start the group member") from error

    def _run(self, consumer: Consumer) -> None:
        failure: Exception | None = None
        try:
            while self._poll_until_stopped(consumer):
                self._close(consumer)
                consumer = self._consumer()
        except Exception as error:  # noqa: BLE001 - handed to whoever watches `ended`
            failure = (
                self._translate(error.args[0], "stay in the group") if isinstance(error, KafkaException) else error
            )
            self._log.error("group membership ended", error=str(failure))
        finally:
            self._hand_over(set(self._owned))
            self._close(consumer)
            self._lose(set(self._owned))
            self._joined = False
            self._on_loop(lambda: self._finish(failure))

    def _hand_over(self, lanes: Lanes) -> None:
        if lanes:
            self._log.info("lanes revoked", lanes=sorted(lanes))
            flushed = self._call(self._on_revoked, lanes, wait_s=FLUSH_LIMIT_S)
            self._owned = self._owned - lanes
            if not flushed:
                self._call_lost(lanes)

    def _close(self, consumer: Consumer) -> None:
        """Leave the group, but wait for it a moment only: the lanes are flushed.

        librdkafka first waits for the end of a rebalance that it takes part in, and that may wait for others that are
        about to end, too (*measured*: for seconds, when two workers were stopped together soon after their start).
        """
        closing = threading.Thread(target=consumer.close, name=f"leave {self._group}", daemon=True)
        closing.start()
        closing.join(CLOSE_LIMIT_S)
        if closing.is_alive():
            self._log.info("not waiting until the group has let this worker go", waited_s=CLOSE_LIMIT_S)

    def _poll_until_stopped(self, consumer: Consumer) -> bool:
        """Whether another client is needed before that: certificates have changed, and this one can't connect."""
        backoff = _REJOIN_BACKOFF_S[0]
        self._subscribe(consumer)
        while not self._stopping.is_set():
            if not self._loop_turns(HANG_LIMIT_S):
                self._leave(consumer, f"the event loop didn't turn for {HANG_LIMIT_S} s")
                self._loop_turns(None)
                self._subscribe(consumer)
            if self._callback_failed:
                self._leave(consumer, f"a callback failed; joining again in {backoff} s")
                self._pause(backoff)
                backoff = min(2 * backoff, _REJOIN_BACKOFF_S[1])
                self._callback_failed = False
                self._subscribe(consumer)
            if self._failed_to_connect and self._log_in.certificates_changed:
                self._leave(consumer, "certificates have changed: joining again with the new ones")
                return True
            self._log_in.renew(consumer)
            message = consumer.poll(_POLL_S)
            self._step()
            if message is not None and message.error() is not None:
                self._note_error(message.error())
        return False

    def _subscribe(self, consumer: Consumer) -> None:
        self._failed_to_connect = False
        consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def _leave(self, consumer: Consumer, why: str) -> None:
        lanes = set(self._owned)
        self._log.warning("leaving the group", why=why, lanes=sorted(lanes))
        self._owned = frozenset()  # rule D: first of all
        self._joined = False
        consumer.unsubscribe()
        deadline = _now() + _LEAVE_LIMIT_S
        while consumer.assignment() and _now() < deadline:
            consumer.poll(_POLL_S)
        self._call_lost(lanes)

    def _loop_turns(self, limit_s: float | None) -> bool:
        """Whether the loop answers within `limit_s`; True also when stopping, which ends every wait."""
        answered = threading.Event()
        self._on_loop(answered.set)
        began = _now()
        while not answered.wait(_POLL_S):
            self._step()
            if self._stopping.is_set():
                break
            if limit_s is not None and _now() - began >= limit_s:
                return False
        return True

    def _pause(self, duration_s: float) -> None:
        until = _now() + duration_s
        while _now() < until and not self._stopping.wait(_POLL_S):
            self._step()

    def _step(self) -> None:
        """Note that the thread runs. If it didn't for long, what it knows of its lanes is doubtful for a while."""
        now = _now()
        if now - self._alive_at > SUSPENDED_S:
            self._doubt_until = now + DOUBT_S
            self._log.warning("the process was suspended", for_s=round(now - self._alive_at, 1))
        self._alive_at = now

    def _on_loop(self, call: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed: the process is about to end
            self._stopping.set()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # An explicit offset spares the look-up of a committed one; paused partitions are never fetched.
        positions = [TopicPartition(p.topic, p.partition, 0) for p in partitions]
        consumer.incremental_assign(positions)
        consumer.pause(positions)
        lanes = {p.partition for p in partitions}
        self._owned = self._owned | lanes
        self._joined = True
        self._last_error = None
        self._log.info("lanes assigned", lanes=sorted(lanes), owned=len(self._owned))
        if lanes:
            self._call(self._on_assigned, lanes)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._hand_over({p.partition for p in partitions} & self._owned)  # after _leave nothing is owned
        consumer.incremental_unassign(partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._joined = False
        self._lose({p.partition for p in partitions} & self._owned)
        consumer.incremental_unassign(partitions)

    def _lose(self, lanes: Lanes) -> None:
        self._owned = self._owned - lanes
        self._call_lost(lanes)

    def _call_lost(self, lanes: Lanes) -> None:
        if lanes:
            self._log.warning("lanes lost", lanes=sorted(lanes))
            self._call(self._on_lost, lanes)

    def _call(self, callback: Callback, lanes: Lanes, wait_s: float = 0) -> bool:
        """Have `callback` run on the loop after those before it. Wait for its end up to `wait_s`: whether it came."""
        try:
            running = asyncio.run_coroutine_threadsafe(self._guarded(callback, lanes), self._loop)
        except RuntimeError:
            self._stopping.set()
            return False
        until = _now() + wait_s
        while wait_s:
            try:
                running.result(_POLL_S)
                return True
            except TimeoutError:
                self._step()
            if _now() > until:
                running.cancel()
                self._log.warning("lanes given up before they were flushed", waited_s=wait_s, lanes=sorted(lanes))
                return False
        return True

    async def _guarded(self, callback: Callback, lanes: Lanes) -> None:
        """Runs on the loop."""
        async with self._callbacks_in_order:
            try:
                await callback(lanes)
            except Exception as error:  # noqa: BLE001 - whatever it is, the lanes must run elsewhere
                self._log.exception("lane callback failed", lanes=sorted(lanes))
                self._last_error = error if isinstance(error, ReplicatorError) else ReplicatorError(repr(error))
                self._callback_failed = True

    def _finish(self, failure: Exception | None) -> None:
        """Runs on the loop."""
        if self._ended.done():
            return
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)

    def _note_error(self, error: KafkaError) -> None:
        translated = self._translate(error, "stay in the group")
        if str(translated) != str(self._last_error):
            self._log.warning("group membership", error=str(translated))
        self._last_error = translated
        self._failed_to_connect = True

    def _translate(self, error: KafkaError, action: str) -> ReplicatorError:
        return replicator_error(error, cluster=self._cluster, action=action, resource=self._group)
