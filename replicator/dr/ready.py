"""What stands between now and a promotion, found without changing anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from replicator.config.librdkafka import ADMINISTRATOR, client_properties
from replicator.config.mm2_names import HEARTBEATS
from replicator.config.models import LinkConfig, Settings
from replicator.dr.holds import Choice
from replicator.ledger.status import LinkStatus, PartitionStatus
from replicator.states import State
from replicator.sync.plan import Change, Held, Kind, Why

_SCRAM_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing: `kind` says what it is about, `next_step` what to do. `blocks`: `promote` would refuse, or wait."""

    kind: str
    where: str
    what: str
    next_step: str = ""
    blocks: bool = True


def obstacles(status: LinkStatus, choice: Choice, changes: Iterable[Change], held: Iterable[Held]) -> list[Obstacle]:
    """By what the clusters say (`status`), and what isn't in step (`changes` to be made, `held` that can't be)."""
    found: list[Obstacle] = []
    if status.source_error is not None:
        found.append(
            Obstacle("source", status.source, status.source_error, "Without it there is `replicator failover`.")
        )
    if not status.workers:
        found.append(Obstacle("workers", status.name, "no worker runs", "Start one: `replicator run`."))
    chosen = choice.of_status(status)
    found += [each for partition in chosen if (each := _of_partition(partition)) is not None]
    for change in changes:
        kind, said = change.kind.value, f"{change.what}: {change.before} -> {change.after}"
        found.append(Obstacle(kind, change.resource, said, "A worker does this within seconds; wait."))
    for item in held:
        if item.why is not Why.NO_AUTHORIZER:
            blocks = item.kind is not Kind.GROUP or item.why is not Why.ACTIVE
            found.append(Obstacle(item.kind.value, item.resource, f"{item.why.value}: {item.detail}", blocks=blocks))
    return found


def missing_users(settings: Settings, link: LinkConfig) -> list[Obstacle]:
    """SCRAM users of the source that the target doesn't have: Kafka never tells their passwords, so nobody can copy
    them. Where one of the clusters doesn't tell (no permission, no such users), nothing is known."""
    ours, theirs = _scram_users(settings, link.source), _scram_users(settings, link.target)
    if ours is None or theirs is None:
        return []
    step = "Create it there, with its password (kafka-configs.sh --entity-type users)."
    return [Obstacle("user", f"cluster {link.target}", f"SCRAM user {user} is missing", step) for user in ours - theirs]


def _of_partition(partition: PartitionStatus) -> Obstacle | None:
    where = f"{partition.topic}-{partition.partition}"
    if partition.state in (State.PROMOTED, State.FAILED_OVER):
        return Obstacle("state", where, f"{partition.state}: {partition.detail}", "Nothing: it doesn't copy any more.")
    if partition.state != State.COPYING:
        return Obstacle("state", where, " ".join(filter(None, (partition.state, partition.reason, partition.detail))),
                        partition.next_step or "See `replicator status`.")  # fmt: skip
    if partition.lag and partition.topic != HEARTBEATS and not partition.topic.endswith(f".{HEARTBEATS}"):
        return Obstacle("lag", where, f"{partition.lag} records behind", "Wait, or stop its producers.")
    return None


def _scram_users(settings: Settings, alias: str) -> set[str] | None:
    properties = client_properties(settings.clusters[alias], client_id="replicator-ready")
    client = AdminClient({**properties, **ADMINISTRATOR})
    try:
        answer = client.describe_user_scram_credentials(None, request_timeout=_SCRAM_TIMEOUT_S)
        return set(answer.result(_SCRAM_TIMEOUT_S + 1))
    except (KafkaException, TimeoutError):
        return None


def ready(found: Sequence[Obstacle]) -> bool:
    """Whether a promotion would go through now."""
    return not any(each.blocks for each in found)
