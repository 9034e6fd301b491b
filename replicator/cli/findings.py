"""What `replicator check` looks at: can both clusters be reached, understood and used as the links need it.

Only asks: topics are "created" with validate_only. Each finding says what, where, why, and what to do next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.errors import (
    AuthorizationError,
    ReplicatorError,
    UnreachableError,
    UnsupportedVersionError,
    WrongStateError,
)
from replicator.ledger.lanes import group_id, ledger_topic
from replicator.ledger.topic import internal_topics, refuse_missing_ledger
from replicator.sync.admin import Admin, Topic, TopicSpec
from replicator.sync.topics import TopicPlan, TopicSync
from replicator.wire.cluster import ClusterClient
from replicator.wire.connection import Connection
from replicator.wire.permissions import (
    CLUSTER,
    SWITCH,
    TRANSACTIONAL_ID,
    family,
    how_to_grant,
    probe_id,
    require_producers,
)

_CLIENT_ID = "replicator-check"
_TIMEOUT_S = 15.0
_BROKER_TIMEOUT_S = 8.0
_NAMED = 5  # topics that a finding names before it says how many more there are

# API -> (name, version needed): what Kafka 2.8 offers; topic ids need the Metadata version.
_NEEDED = {0: ("Produce", 9), 1: ("Fetch", 12), 2: ("ListOffsets", 6), 3: ("Metadata", 10), 22: ("InitProducerId", 4)}

_SOURCE_TOPIC = {AclOperation.READ: "Read", AclOperation.DESCRIBE_CONFIGS: "DescribeConfigs"}
_TARGET_TOPIC = {AclOperation.WRITE: "Write", AclOperation.DESCRIBE_CONFIGS: "DescribeConfigs"}
_TARGET_GROWING = {AclOperation.ALTER: "Alter"}
_INTERNAL_TOPIC = {AclOperation.READ: "Read", AclOperation.WRITE: "Write"}
_GROUP = {AclOperation.READ: "Read"}


_REFUSED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED)


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `exit_code` is what the program should end with because of it."""

    level: Level
    where: str
    what: str
    why: str = ""
    next_step: str = ""
    exit_code: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _ok(where: str, what: str) -> Finding:
    return Finding(Level.OK, where, what)


def _problem(where: str, what: str, why: str = "", next_step: str = "", exit_code: int = 1) -> Finding:
    return Finding(Level.PROBLEM, where, what.removeprefix(f"{where}: "), why, next_step, exit_code)


async def examine(settings: Settings, links: Collection[LinkConfig]) -> list[Finding]:
    """All findings for these links and their clusters, in about a minute at most; raises nothing of the network's."""
    aliases = list(dict.fromkeys(alias for link in links for alias in (link.source, link.target)))
    by_cluster = dict(
        zip(aliases, await asyncio.gather(*(_cluster(settings, alias) for alias in aliases)), strict=True)
    )
    findings = [finding for found in by_cluster.values() for finding in found]
    usable = {alias for alias, found in by_cluster.items() if not any(f.exit_code == 3 for f in found)}
    for link in links:
        where = f"link {link.name}"
        if {link.source, link.target} <= usable:
            try:
                findings += await asyncio.wait_for(_link(settings, link, where), 4 * _TIMEOUT_S)
            except TimeoutError:
                findings.append(_problem(where, "the clusters answer too slowly", exit_code=3))
            except ReplicatorError as error:
                findings.append(_problem(where, str(error), exit_code=1 if _refused(error) else error.exit_code))
        else:
            findings.append(_problem(where, "not examined: its clusters can't be used, see above", exit_code=3))
    return findings


def _refused(error: ReplicatorError) -> bool:
    return isinstance(error, AuthorizationError)


async def _cluster(settings: Settings, alias: str) -> list[Finding]:
    where = f"cluster {alias}"
    config = settings.clusters[alias]
    client = ClusterClient(alias, config, _CLIENT_ID)
    try:
        connection = await asyncio.wait_for(client.any_connection(), _TIMEOUT_S)
        await asyncio.wait_for(client.refresh(), _TIMEOUT_S)
    except TimeoutError:
        step = "check that bootstrap_servers is right and that its brokers are up"
        return [_problem(where, f"no answer from {config.bootstrap_servers} in {_TIMEOUT_S:.0f} s", "", step, 3)]
    except ReplicatorError as error:
        return [_problem(where, str(error), exit_code=error.exit_code if error.exit_code != 1 else 3)]
    else:
        security = config.security
        who = f"as {security.username} ({security.mechanism})" if security.username else "without SASL"
        return [
            _ok(where, f"reached over {security.protocol} {who}, cluster id {client.cluster_id or 'unknown'}"),
            *_versions(where, connection),
            *await _brokers(where, client),
        ]
    finally:
        await client.close()


def _versions(where: str, connection: Connection) -> list[Finding]:
    lacking = [
        f"{name} v{version}" for api, (name, version) in _NEEDED.items() if not connection.supports(api, version)
    ]
    if lacking:
        why = "Replicator needs Apache Kafka 2.8 or newer"
        return [
            _problem(
                where,
                f"doesn't offer {', '.join(lacking)}",
                why,
                "upgrade the brokers",
                UnsupportedVersionError.exit_code,
            )
        ]
    return [_ok(where, "speaks all protocol versions that are needed")]


async def _brokers(where: str, client: ClusterClient) -> list[Finding]:
    """Every broker must be reachable under the address that it advertises: data is fetched from and sent to leaders."""

    async def reach(node: int) -> Finding | None:
        broker = client.brokers[node]
        try:
            await asyncio.wait_for(client.connection(node, "check"), _BROKER_TIMEOUT_S)
        except (ReplicatorError, TimeoutError) as error:
            what = f"broker {node} can't be reached at the address it advertises, {broker.host}:{broker.port}"
            step = "check advertised.listeners of that broker, name resolution, and firewalls between here and there"
            return _problem(where, what, str(error), step, UnreachableError.exit_code)
        return None

    found = [finding for finding in await asyncio.gather(*map(reach, sorted(client.brokers))) if finding is not None]
    return found or [_ok(where, f"all {len(client.brokers)} brokers reached at their advertised addresses")]


async def _link(settings: Settings, link: LinkConfig, where: str) -> list[Finding]:
    source, target = (
        client_properties(settings.clusters[alias], client_id=_CLIENT_ID) for alias in (link.source, link.target)
    )
    source_admin = Admin(source, link.source, timeout_s=_TIMEOUT_S)
    target_admin = Admin(target, link.target, timeout_s=_TIMEOUT_S)
    plan = await TopicSync(link, source_admin, target_admin).plan()
    findings = _selected(link, where, plan)
    names = sorted(plan.pairs)
    asked = await _topic_operations(source, names)
    findings += _missing(link.source, asked, _SOURCE_TOPIC, "they couldn't be read")
    existing = {pair.remote_name: pair for pair in plan.pairs.values() if pair.target is not None}
    asked = await _topic_operations(target, sorted(existing))
    findings += _missing(link.target, asked, _TARGET_TOPIC, "records couldn't be written")
    growing = {name: operations for name, operations in asked.items() if name in plan.grow}
    findings += _missing(link.target, growing, _TARGET_GROWING, "partitions couldn't be added")
    findings += await _creatable(link, target_admin, plan)
    findings += await _internal(link, where, target, target_admin)
    try:
        await refuse_missing_ledger(link, source_admin, target_admin, two_way=settings.returns(link))
    except WrongStateError as error:
        findings.append(_problem(where, str(error), exit_code=WrongStateError.exit_code))
    findings += await _group(link, target)
    findings += await _producers(settings, link)
    if not any(finding.level is Level.PROBLEM for finding in findings):
        findings.append(_ok(where, "the principals may do all that the link needs"))
    return findings


def _selected(link: LinkConfig, where: str, plan: TopicPlan) -> list[Finding]:
    findings = []
    for name, problem in sorted(plan.problems.items()):
        what = f"topic {name} can't be copied: {problem.reason}"
        findings.append(_problem(where, what, problem.detail, problem.reason.next_step))
    if plan.pairs:
        create = len(plan.create)
        what = f"{len(plan.pairs)} topics of {link.source} selected, {create} of them to be created on {link.target}"
        findings.append(_ok(where, what))
    elif not plan.problems:
        what = f"no topic of {link.source} is selected"
        why = (
            f"{len(plan.skipped)} topics can be seen there: {_some(plan.skipped)}"
            if plan.skipped
            else "none can be seen there"
        )
        step = "`replicator topics` says why for each; topics are invisible without Describe on them"
        findings.append(Finding(Level.WARNING, where, what, why, step))
    return findings


Operations = Mapping[str, frozenset[Any] | None]  # None: the broker doesn't say


async def _topic_operations(properties: dict[str, Any], names: Collection[str]) -> Operations:
    if not names:
        return {}
    client = AdminClient(properties)
    futures = client.describe_topics(
        TopicCollection(list(names)), include_authorized_operations=True, request_timeout=_TIMEOUT_S
    )
    return {name: await _operations(future) for name, future in futures.items()}


async def _operations(future: Any) -> frozenset[Any] | None:
    try:
        answer = await asyncio.wrap_future(future)
    except KafkaException as error:
        return frozenset() if error.args[0].code() in _REFUSED else None  # other errors show where it is used
    return frozenset(answer.authorized_operations) if answer.authorized_operations is not None else None


def _missing(alias: str, asked: Operations, needed: Mapping[Any, str], consequence: str) -> list[Finding]:
    findings = []
    for operation, name in needed.items():
        lacking = [topic for topic, allowed in asked.items() if allowed is not None and operation not in allowed]
        if lacking:
            what = f"{name} isn't allowed on {_some(lacking)}"
            step = f"grant {name} on topic {_some(lacking)} to this principal, or exclude the topics"
            findings.append(_problem(f"cluster {alias}", what, consequence, step))
    return findings


async def _creatable(link: LinkConfig, target: Admin, plan: TopicPlan) -> list[Finding]:
    answers = await target.create_topics(plan.create, validate_only=True)
    findings = []
    for name, error in answers.items():
        if isinstance(error, ReplicatorError):
            step = f"grant Create on topic {name}, create it by hand, or exclude it" if _refused(error) else ""
            findings.append(_problem(f"cluster {link.target}", f"topic {name} couldn't be created", str(error), step))
    return findings


async def _internal(link: LinkConfig, where: str, properties: dict[str, Any], target: Admin) -> list[Finding]:
    wanted = internal_topics(link, len((await target.describe_cluster()).brokers))
    present = await target.describe_topics([topic.name for topic in wanted])
    known = sorted(name for name, answer in present.items() if isinstance(answer, Topic))
    operations = await _topic_operations(properties, known)
    findings = _missing(link.target, operations, _INTERNAL_TOPIC, "the link couldn't keep its positions")
    absent = [topic for topic in wanted if topic.name not in present]
    specs = [TopicSpec(topic.name, topic.partitions, topic.replication_factor, topic.configs) for topic in absent]
    answers = {**present, **await target.create_topics(specs, validate_only=True)}
    refused = {name: error for name, error in answers.items() if isinstance(error, AuthorizationError)}
    if refused:
        step = f"grant Create, Describe, Read and Write on topics with the prefix {ledger_topic(link.name)[:-6]}"
        what = f"internal topics {_some(refused)} couldn't be used"
        findings.append(_problem(f"cluster {link.target}", what, str(next(iter(refused.values()))), step))
    for name, error in answers.items():
        if isinstance(error, ReplicatorError) and name not in refused:
            findings.append(
                _problem(f"cluster {link.target}", f"internal topic {name} couldn't be created", str(error))
            )
    ledger = present.get(ledger_topic(link.name))
    partitions = getattr(ledger, "partitions", link.lanes)
    if partitions != link.lanes:
        what = f"the link was started with {partitions} lanes, and lanes is {link.lanes} now"
        findings.append(
            _problem(where, what, "lanes are fixed once a link has started", f"write `lanes: {partitions}`", 2)
        )
    return findings


async def _group(link: LinkConfig, properties: dict[str, Any]) -> list[Finding]:
    group = group_id(link.name)
    client = AdminClient(properties)  # kept until the answer is there: its futures never end once it is gone
    futures = client.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=_TIMEOUT_S)
    allowed = await _operations(futures[group])
    return [
        _problem(
            f"cluster {link.target}",
            f"{name} isn't allowed on group {group}",
            "workers share their work through it",
            f"grant {name} on group {group}",
        )
        for operation, name in _GROUP.items()
        if allowed is not None and operation not in allowed
    ]


async def _producers(settings: Settings, link: LinkConfig) -> list[Finding]:
    """May we write as the link's delivery asks for: with transactional ids, or at least idempotently?"""
    where = f"cluster {link.target}"
    config = settings.clusters[link.target]
    ids = (probe_id(link.name),) if link.delivery == "exactly_once" else ()
    try:
        await asyncio.wait_for(require_producers(link.target, config, _CLIENT_ID, ids), 2 * _TIMEOUT_S)
    except AuthorizationError as error:
        what = f"{error.operation} isn't allowed on {error.resource}"
        if error.resource.startswith(TRANSACTIONAL_ID):
            step = how_to_grant(TRANSACTIONAL_ID, family(probe_id(link.name)), ("Describe", "Write"), config.security)
            return [_problem(where, what, "delivery: exactly_once needs transactional ids", f"{step}, or {SWITCH}")]
        step = how_to_grant(CLUSTER, "", (error.operation,), config.security)
        return [_problem(where, what, "nothing could be written", step)]
    return []


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
