"""What a promotion needs besides the link's own topics, ACLs and groups: users, quotas, and clocks that agree.

Nobody copies these: passwords can't be read, quotas are their own cluster's. So they are compared, and named with the
command that puts them right. What mayn't be asked is unknown, which isn't ready.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Collection, Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from replicator.config.librdkafka import ADMINISTRATOR, client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.dr.clocks import newest_record, target_clock
from replicator.dr.ready import Obstacle
from replicator.errors import ReplicatorError, UnsupportedVersionError
from replicator.ledger.client_errors import replicator_error
from replicator.wire.cluster import ClusterClient
from replicator.wire.describe_quotas import Quota, describe_client_quotas

USER, QUOTA, CLOCK = "user", "quota", "clock"
_SCRAM_TIMEOUT_S = 10.0
_SKEW_MS = 60_000  # from here on it blocks: time-based retention and positions by time are wrong by as much
_AHEAD_MS = 5_000
_NONE = {KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE}  # no such users there, so none are missing
_ENTITY_OPTIONS = {"user": "users", "client-id": "clients", "ip": "ips"}


def beside(settings: Settings, link: LinkConfig, topics: Collection[str]) -> list[Obstacle]:
    """All of that, for the link's source `topics`. Blocking; both clusters must be there."""
    return [*missing_users(settings, link), *asyncio.run(_asked(settings, link, topics))]


def missing_users(settings: Settings, link: LinkConfig) -> list[Obstacle]:
    """SCRAM users of the source that the target doesn't have: Kafka never tells their passwords, so nobody can copy
    them."""
    known: dict[str, set[str]] = {}
    for alias in (link.source, link.target):
        try:
            known[alias] = _scram_users(settings, alias)
        except ReplicatorError as error:
            return [unknown(USER, f"cluster {alias}", f"SCRAM users: {error}")]
    return [
        Obstacle(
            USER,
            f"cluster {link.target}",
            f"SCRAM user {user} is missing",
            "Create it there with its password, which nobody can copy: "
            f"{_configs(settings, link)} --entity-type users --entity-name {shlex.quote(user)} "
            "--add-config 'SCRAM-SHA-512=[password=…]'",
        )
        for user in sorted(known[link.source] - known[link.target])
    ]


def missing_quotas(ours: Collection[Quota], theirs: Collection[Quota], where: str, command: str) -> list[Obstacle]:
    """Quotas of the source that the target doesn't have, or has otherwise."""
    there = {_entity(quota): quota.limits for quota in theirs}
    found = []
    for quota in ours:
        limits = there.get(_entity(quota), {})
        for key, value in sorted(quota.limits.items()):
            if limits.get(key) != value:
                said = f"is {limits[key]:.15g} there" if key in limits else "is missing"
                what = f"quota of {quota.of}: {key} {value:.15g} {said}"
                step = f"Set it: {command} {_options(quota)} --add-config {key}={value:.15g}"
                found.append(Obstacle(QUOTA, where, what, step))
    return found


def unknown(kind: str, where: str, what: str) -> Obstacle:
    """Something that couldn't be asked."""
    step = f"Grant what it names, or leave it out: --ignore {kind}s"
    return Obstacle(kind, where, f"unknown: {what}", step, unknown=True)


async def _asked(settings: Settings, link: LinkConfig, topics: Collection[str]) -> list[Obstacle]:
    aliases = (link.source, link.target)
    source, target = (ClusterClient(a, settings.clusters[a], f"replicator-{link.name}-ready") for a in aliases)
    try:
        quotas: list[list[Quota]] = []
        found: list[Obstacle] = []
        for client in (source, target):
            try:
                quotas.append(await describe_client_quotas(await client.any_connection()))
            except UnsupportedVersionError:
                quotas.append([])  # it has none
            except ReplicatorError as error:
                found.append(unknown(QUOTA, f"cluster {client.alias}", f"quotas: {error}"))
        if len(quotas) == len(aliases):
            found += missing_quotas(quotas[0], quotas[1], f"cluster {link.target}", _configs(settings, link))
        try:
            found += await _clocks(link, source, target, topics)
        except ReplicatorError as error:
            found.append(unknown(CLOCK, f"link {link.name}", f"clocks: {error}"))
        return found
    finally:
        for client in (source, target):
            await client.close()


async def _clocks(
    link: LinkConfig, source: ClusterClient, target: ClusterClient, topics: Collection[str]
) -> list[Obstacle]:
    found = []
    step = "Set the clocks by NTP; `replicator doctor` says how they were compared."
    skew = await target_clock(target, link.name)
    if skew is not None and skew.surely_ms:
        side = "ahead of" if skew.surely_ms > 0 else "behind"
        what = f"its clock is at least {abs(skew.surely_ms)} ms {side} that of the workers"
        blocks = abs(skew.surely_ms) >= _SKEW_MS
        found.append(Obstacle(CLOCK, f"cluster {link.target}", what, step, blocks=blocks))
    ahead = await newest_record(source, topics)
    if ahead is not None and ahead > _AHEAD_MS:
        what = f"its newest record is {ahead} ms ahead of this machine's clock"
        found.append(Obstacle(CLOCK, f"cluster {link.source}", what, step, blocks=False))
    return found


def _scram_users(settings: Settings, alias: str) -> set[str]:
    properties = client_properties(settings.clusters[alias], client_id="replicator-ready")
    client = AdminClient({**properties, **ADMINISTRATOR})
    try:
        answer = client.describe_user_scram_credentials(None, request_timeout=_SCRAM_TIMEOUT_S)
        return set(answer.result(_SCRAM_TIMEOUT_S + 1))
    except KafkaException as error:
        if error.args[0].code() in _NONE:
            return set()
        raise replicator_error(error.args[0], cluster=alias, action="describe SCRAM users") from error


def _entity(quota: Quota) -> frozenset[tuple[str, str]]:
    return frozenset(quota.entity.items())


def _configs(settings: Settings, link: LinkConfig) -> str:
    return f"kafka-configs.sh --bootstrap-server {settings.clusters[link.target].bootstrap_servers} --alter"


def _options(quota: Quota) -> str:
    def option(kind: str, name: str) -> str:
        entity = f"--entity-type {_ENTITY_OPTIONS.get(kind, kind)}"
        return f"{entity} --entity-name {shlex.quote(name)}" if name else f"{entity} --entity-default"

    entity: Mapping[str, str] = quota.entity
    return " ".join(option(kind, name) for kind, name in sorted(entity.items(), reverse=True))
