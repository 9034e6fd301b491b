"""What `replicator doctor` looks at on a cluster, beside what `check` does: the way to it, its release, its room, its
replicas, and the quotas that hold for us. Only asks."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Collection

from replicator.config.models import ClusterConfig
from replicator.errors import ReplicatorError
from replicator.examine.finding import Finding, ok, problem, warning
from replicator.flow.round_trip import NEAR, RoundTrip
from replicator.wire import describe_quotas as quotas
from replicator.wire.cluster import ClusterClient
from replicator.wire.connection import API_VERSIONS, Connection
from replicator.wire.describe_log_dirs import LogDir, describe_log_dirs
from replicator.wire.features import METADATA_VERSION, finalized_features, release_of
from replicator.wire.kafka_errors import error_name
from replicator.wire.metadata import Replicas, fetch_replicas

_SLOT = "doctor"
_ASKED = 9  # round trips per broker
_LITTLE_ROOM = 0.10  # of a volume
_FULL = 0.03
_TOPICS_AT_ONCE = 500
_NAMED = 5
MB = 1_000_000


async def examine_cluster(client: ClusterClient, link_name: str, topics: Collection[str]) -> list[Finding]:
    """All of that for one cluster, whose `topics` are those that the link reads or writes. Raises nothing of the
    network's: what couldn't be found out is a warning."""
    where = f"cluster {client.alias}"
    asked: list[tuple[str, Callable[[], Awaitable[list[Finding]]]]] = [
        ("its release", lambda: _release(where, client)),
        ("the room on its disks", lambda: _room(where, client)),
        ("its replicas", lambda: _replicas(where, client, topics)),
        ("quotas", lambda: _quotas(where, client, link_name)),
    ]
    found: list[Finding] = []
    for what, ask in asked:
        found += await told(where, what, ask())
    return found


async def told(where: str, what: str, answer: Awaitable[list[Finding]]) -> list[Finding]:
    """`answer`, or that it couldn't be had."""
    try:
        return await answer
    except ReplicatorError as error:
        return [warning(where, f"unknown: {what}", str(error))]


async def round_trips(client: ClusterClient) -> dict[int, list[float]]:
    """Seconds that the smallest request took to each broker and back, several times, in order of size. Brokers that
    can't be reached are left out: `check` names them."""
    if not client.brokers:
        await client.all_topics()
    found: dict[int, list[float]] = {}
    for node in sorted(client.brokers):
        try:
            connection = await client.connection(node, _SLOT)
            found[node] = sorted([await _round_trip(connection) for _ in range(_ASKED)])
        except ReplicatorError:
            continue
    return found


def way_findings(alias: str, found: dict[int, list[float]], *, source: bool, memory_bytes: int) -> list[Finding]:
    """What the round trips mean: what workers make of them, and what to set."""
    where = f"cluster {alias}"
    if not found:
        return [warning(where, "unknown: the way to its brokers")]
    words = ", ".join(f"broker {node} {statistics.median(times) * 1000:.1f} ms" for node, times in found.items())
    findings = [ok(where, f"round trips: {words} (the median of {_ASKED})")]
    trip = RoundTrip()
    for seconds in max(found.values(), key=lambda times: times[0]):
        trip.measured(seconds)
    wanted = trip.reach(1 << 60)
    if not source or wanted == NEAR:
        return findings
    got = trip.reach(memory_bytes // 2)
    what = f"workers read what is behind over {got.loops} more connections a broker, {got.bytes // MB} MB under way"
    if got.bytes >= wanted.bytes:
        return [*findings, ok(where, what)]
    why = f"such a way holds {wanted.bytes // MB} MB, and half of service.memory_bytes may be under way"
    step = f"set `service.memory_bytes: {2 * wanted.bytes >> 20}MiB`"
    return [*findings, warning(where, what, why, step)]


def nearness(source: str, ours: dict[int, list[float]], target: str, theirs: dict[int, list[float]]) -> list[Finding]:
    """Whether this machine is at the better end of the way."""
    if not ours or not theirs:
        return []
    to_source, to_target = (min(times[0] for times in found.values()) for found in (ours, theirs))
    if to_target < 0.010 or to_target < to_source:
        return []
    what = f"the target, {to_target * 1000:.0f} ms away, is farther than the source, {to_source * 1000:.0f} ms"
    why = f"reading over a long way is sped up by more connections, writing waits for {target}'s answers"
    return [warning("this machine", what, why, f"run workers near {target} rather than near {source}")]


async def _round_trip(connection: Connection) -> float:
    began = time.perf_counter()
    await connection.request(API_VERSIONS, 0, [], flexible=False)
    return time.perf_counter() - began


async def _release(where: str, client: ClusterClient) -> list[Finding]:
    features = await finalized_features(await client.any_connection())
    level = features.get(METADATA_VERSION)
    if level is None:
        return [ok(where, "tells no finalized features: ZooKeeper, or a broker of another make")]
    others = ", ".join(f"{name} {at}" for name, at in sorted(features.items()) if name != METADATA_VERSION)
    release = release_of(level)
    said = f"upgraded to Kafka {release}" if release else "upgraded to a Kafka before 3.3"
    return [ok(where, f"{said} (metadata.version {level}{', ' + others if others else ''})")]


async def _room(where: str, client: ClusterClient) -> list[Finding]:
    async def ask(node: int) -> tuple[int, list[LogDir]]:
        return node, await describe_log_dirs(await client.connection(node, _SLOT))

    findings, known = [], 0
    for node, directories in await asyncio.gather(*map(ask, sorted(client.brokers))):
        for path, error, total, usable in directories:
            place = f"log directory {path} of broker {node}"
            if error:
                step = "look at the broker's log; replace the disk"
                findings.append(problem(where, f"{place} is offline", error_name(error), step))
            elif total > 0:
                known += 1
                free = usable / total
                if free < _LITTLE_ROOM:
                    what = f"{place} has {usable // MB} MB of {total // MB} MB left, {free:.0%}"
                    step = "shorten retention, or give it more room: a full disk stops the broker"
                    make = problem if free < _FULL else warning
                    findings.append(make(where, what, "", step))
    if not findings and known:
        findings.append(ok(where, f"{known} log directories have room"))
    elif not known:
        findings.append(warning(where, "unknown: the room on its disks", "brokers tell it from Kafka 3.3 on"))
    return findings


async def _replicas(where: str, client: ClusterClient, topics: Collection[str]) -> list[Finding]:
    if not topics:
        return []
    found: dict[str, list[Replicas]] = {}
    names = sorted(topics)
    for first in range(0, len(names), _TOPICS_AT_ONCE):
        found |= await fetch_replicas(await client.any_connection(), names[first : first + _TOPICS_AT_ONCE])
    offline = [name for name, parts in found.items() if any(part.leader < 0 for part in parts)]
    thin = [name for name, parts in found.items() if any(part.in_sync < part.all for part in parts)]
    findings = []
    if offline:
        step = "start their brokers again"
        findings.append(problem(where, f"partitions without a leader: {some(offline)}", "", step))
    if thin := sorted(set(thin) - set(offline)):
        step = "look at the brokers that are behind, or away; until then fewer failures are survived"
        findings.append(warning(where, f"not all replicas are in sync: {some(thin)}", "", step))
    count = sum(map(len, found.values()))
    return findings or [ok(where, f"all replicas of {count} partitions are in sync")]


async def _quotas(where: str, client: ClusterClient, link_name: str) -> list[Finding]:
    who = _user(client.config)
    found = await quotas.describe_client_quotas(await client.any_connection())
    ours = [quota for quota in found if quota.limits and quota.concerns(who, f"replicator-{link_name}-")]
    return [
        warning(where, f"a quota of {quota.of} holds for us: {_limits(quota)}", "", "raise it if the link lags")
        for quota in ours
    ] or [ok(where, f"no quota holds for {who}")]


def _limits(quota: quotas.Quota) -> str:
    words = {
        quotas.PRODUCER_RATE: lambda value: f"writing {value / MB:g} MB/s per broker",
        quotas.CONSUMER_RATE: lambda value: f"reading {value / MB:g} MB/s per broker",
        quotas.REQUESTS: lambda value: f"{value:g} % of a broker's threads",
    }
    return ", ".join(words[key](value) if key in words else f"{key} {value:g}" for key, value in quota.limits.items())


def _user(config: ClusterConfig) -> str:
    return config.security.username or "ANONYMOUS"


def some(names: Collection[str]) -> str:
    """The first few names, and how many more there are."""
    listed = sorted(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
