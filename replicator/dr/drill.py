"""A drill: the whole way there and back, on a canary topic with links of its own, measured from its clients' side.

Nothing of the link that it is for is touched, but for the record of the result in its control topic. What an
interrupted drill has left is removed by the next one.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from confluent_kafka import KafkaException

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.dr.canary import Canary, canary_settings
from replicator.dr.desk import operator
from replicator.dr.failover import failover
from replicator.dr.holds import Choice, Say
from replicator.dr.promote import promote
from replicator.dr.ready import obstacles
from replicator.dr.restore import restore
from replicator.dr.reverse import reverse
from replicator.errors import ReplicatorError, WrongStateError
from replicator.ledger.control_client import ControlClient
from replicator.ledger.drills import DrillRecords, DrillResult, encode_result, encode_running
from replicator.ledger.status import read_status_blocking

Crew = Callable[[Settings], AbstractContextManager[None]]
PROMOTE, FAILOVER = "promote", "failover"

_QUIET_S = 1.0
_WAIT_S = 60.0
_POLL_S = 0.3
_ALL = Choice(None)


class DrillError(ReplicatorError):
    """The pair didn't do what it should in a drill."""


class Drill:
    """One drill of a link; `crew` runs workers for the settings that it is given, for as long as its context."""

    def __init__(self, settings: Settings, link: LinkConfig, mode: str, crew: Crew, *, by: str = "", say: Say) -> None:
        self._settings, self._link, self._mode, self._crew = settings, link, mode, crew
        self._by, self._say = by or operator(), say
        self._own, self._there, self._back = canary_settings(settings, link)
        self._steps: list[tuple[str, int]] = []
        self._at = ""
        self._rto_ms: int | None = None
        self._lost: tuple[int, int] | None = None
        self._beat: Callable[[], None] = lambda: None

    @property
    def topic(self) -> str:
        """The canary topic."""
        return self._there.topics.include[0]

    def run(self) -> DrillResult:
        """Do it, and note what came of it. WrongStateError while another one runs, or where the link never ran;
        ReplicatorError if the result can't be noted. What fails in the drill is in the result."""
        began, at_ms = time.monotonic(), _now_ms()
        properties = client_properties(
            self._settings.clusters[self._link.target], client_id=f"replicator-{self._link.name}-drill-result"
        )
        with ControlClient(properties, self._link.name, cluster=self._link.target) as control:
            records = self._claim(control)
            error = ""
            try:
                self._all()
            except (ReplicatorError, KafkaException, TimeoutError) as failure:
                error = str(failure) or type(failure).__name__
            lost = self._lost or (None, None)
            result = DrillResult(
                at_ms, self._mode, self._by, not error, round((time.monotonic() - began) * 1000), self._rto_ms,
                lost[0], lost[1], self._at if error else "", error, tuple(self._steps),
            )  # fmt: skip
            control.write(encode_result(result, records))
            return result

    def _claim(self, control: ControlClient) -> DrillRecords:
        if not control.exists():
            raise WrongStateError(f"link {self._link.name} has never run: there is nothing to drill")
        records = DrillRecords()
        for pair in control.read():
            records.take(*pair)
        if records.runs(_now_ms()):
            raise WrongStateError(f"link {self._link.name}: {records.running_by} is at a drill; wait until it is done")
        self._beat = lambda: control.write([encode_running(self._by, _now_ms())])
        return records

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._at, began = name, time.monotonic()
        self._beat()
        yield
        took_ms = round((time.monotonic() - began) * 1000)
        self._steps.append((name, took_ms))
        self._say(f"{name}: {took_ms / 1000:.1f} s")

    def _all(self) -> None:
        with Canary(self._own, self._there, self._back) as canary:
            try:
                self._way(canary)
            except BaseException:
                canary.remove()
                raise
            with self._step("clean up"):
                canary.remove()

    def _way(self, canary: Canary) -> None:
        source, target = self._there.source, self._there.target
        with self._step("remove what an interrupted drill has left"):
            canary.remove()
        with self._step("make a canary topic"):
            canary.create(source)
            canary.write(source, 100)
        with self._crew(self._own):
            with self._step("copy it"):
                _until(lambda: canary.held(target) == canary.written, "the copy has all")
                canary.consume(source, lambda: canary.read.total() > 20)
            with self._step("ready"):
                self._await_ready(self._there)
            if self._mode == FAILOVER:
                self._failover(canary, source, target)
            else:
                self._promote(canary, source, target)
            with self._step("reverse"):
                reverse(self._own, self._there, _ALL, wait_s=_WAIT_S, by=self._by)
                canary.write(target, 50)
                self._same(canary)
            with self._step("the group goes on at the target"):
                canary.consume(target, lambda: not canary.written - canary.read)
                if missed := (canary.written - canary.read).total():
                    raise DrillError(f"the group missed {missed} records")
            with self._step("promote the way back"):
                promote(self._own, self._back, _ALL, quiet_s=_QUIET_S, wait_s=_WAIT_S, by=self._by)
            with self._step("reverse, home again"):
                canary.write(source, 50)
                reverse(self._own, self._back, _ALL, wait_s=_WAIT_S, by=self._by)
                self._same(canary)
            with self._step("the group goes on at home"):
                canary.consume(source, lambda: not canary.written - canary.read)
                if missed := (canary.written - canary.read).total():
                    raise DrillError(f"the group missed {missed} records")

    def _promote(self, canary: Canary, source: str, target: str) -> None:
        with self._step("promote"):
            canary.write(source, 50)
            stopped_ms = _now_ms()
            promote(self._own, self._there, _ALL, quiet_s=_QUIET_S, wait_s=_WAIT_S, by=self._by)
            self._measure(canary, target, stopped_ms)

    def _failover(self, canary: Canary, source: str, target: str) -> None:
        ended = threading.Event()

        def produce() -> None:
            while not ended.is_set():
                canary.write(source, 20)

        writer = threading.Thread(target=produce, daemon=True)
        with self._step("failover, while clients still write"), tempfile.TemporaryDirectory() as directory:
            writer.start()
            time.sleep(2 * _QUIET_S)
            given_up_ms = _now_ms()
            try:
                failover(
                    self._own, self._there, _ALL, snapshot=Path(directory, "status.json"), wait_s=_WAIT_S, by=self._by,
                    ask_source=False,
                )  # fmt: skip
            finally:
                ended.set()
                writer.join()
            self._measure(canary, target, given_up_ms)
        with self._step("restore"):
            stranded = (canary.written - canary.held(target)).total()
            done = restore(self._own, self._there, _ALL, export=None, wait_s=_WAIT_S, by=self._by)
            if done.records != stranded:
                raise DrillError(f"restore found {done.records} records, and {stranded} weren't copied")

    def _measure(self, canary: Canary, target: str, since_ms: int) -> None:
        """The target is used: how long that took, and what of before it hasn't."""
        canary.write(target, 1)
        self._rto_ms = _now_ms() - since_ms
        before = {value for value, at_ms in canary.written_ms.items() if at_ms <= since_ms}
        missing = before - canary.held(target).keys()
        oldest_ms = min((canary.written_ms[value] for value in missing), default=since_ms)
        self._lost = len(missing), since_ms - oldest_ms
        if self._mode == PROMOTE and missing:
            raise DrillError(f"{len(missing)} records were written before the move, and aren't on {target}")

    def _await_ready(self, link: LinkConfig) -> None:
        def is_ready() -> bool:
            found = obstacles(read_status_blocking(self._own, link), _ALL, (), ())
            return not [each for each in found if each.blocks]

        _until(is_ready, "the canary is ready to be moved")

    def _same(self, canary: Canary) -> None:
        for alias in canary.names:
            _until(
                lambda alias=alias: canary.held(alias) == canary.written,  # type: ignore[misc]
                f"cluster {alias} has every record once",
            )


def _until(condition: Callable[[], bool], what: str, limit_s: float = _WAIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if condition():
                return
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise DrillError(f"not within {limit_s:g} s: {what}: {error}") from error
        if time.monotonic() > deadline:
            raise DrillError(f"not within {limit_s:g} s: {what}")
        time.sleep(_POLL_S)


def _now_ms() -> int:
    return int(time.time() * 1000)
