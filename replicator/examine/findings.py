"""What `replicator check` looks at: can both clusters be reached, understood and used as the links need it.

Only asks: topics are "created" with validate_only. Each finding says what, where, why, and what to do next.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, SecurityConfig, Settings
from replicator.errors import (
    AuthorizationError,
    ReplicatorError,
    UnreachableError,
    UnsupportedVersionError,
    WrongStateError,
)
from replicator.examine.finding import Finding, Level, ok, problem, warning
from replicator.examine.permissions import examine_permissions
from replicator.ledger.lanes import ledger_topic
from replicator.ledger.topic import refuse_missing_ledger
from replicator.states import Reason
from replicator.sync.admin import Admin, Topic
from replicator.sync.topics import TopicPlan, TopicSync
from replicator.wire.cluster import ClusterClient
from replicator.wire.connection import Connection
from replicator.wire.permissions import (
    CLUSTER,
    SWITCH,
    TOPIC,
    TRANSACTIONAL_ID,
    described,
    family,
    grant_command,
    how_to_grant,
    probe_id,
    require_producers,
)

_CLIENT_ID = "replicator-check"
_TIMEOUT_S = 15.0
_BROKER_TIMEOUT_S = 8.0
_NAMED = 5  # topics that a finding names before it says how many more there are
_TOPIC_ALREADY_EXISTS = 36
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")  # an `include` that is, or may be, a name rather than a pattern

# API -> (name, version needed): what Kafka 2.8 offers; topic ids need the Metadata version.
_NEEDED = {0: ("Produce", 9), 1: ("Fetch", 12), 2: ("ListOffsets", 6), 3: ("Metadata", 10), 22: ("InitProducerId", 4)}


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
                findings.append(problem(where, "the clusters answer too slowly", exit_code=3))
            except ReplicatorError as error:
                findings.append(problem(where, str(error), exit_code=1 if _refused(error) else error.exit_code))
        else:
            findings.append(problem(where, "not examined: its clusters can't be used, see above", exit_code=3))
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
        return [problem(where, f"no answer from {config.bootstrap_servers} in {_TIMEOUT_S:.0f} s", "", step, 3)]
    except ReplicatorError as error:
        return [problem(where, str(error), exit_code=error.exit_code if error.exit_code != 1 else 3)]
    else:
        security = config.security
        who = _log_in(security)
        return [
            ok(where, f"reached over {security.protocol} {who}, cluster id {client.cluster_id or 'unknown'}"),
            *_versions(where, connection),
            *await _brokers(where, client),
        ]
    finally:
        await client.close()


def _log_in(security: SecurityConfig) -> str:
    """How we are known there."""
    if security.mechanism == "AWS_MSK_IAM":
        who = security.role_arn or (f"profile {security.profile}" if security.profile else "the default credentials")
        return f"with AWS IAM, {who}"
    if security.mechanism == "OAUTHBEARER":
        return f"as client {security.client_id} ({security.mechanism})"
    return f"as {security.username} ({security.mechanism})" if security.username else "without SASL"


def _versions(where: str, connection: Connection) -> list[Finding]:
    lacking = [
        f"{name} v{version}" for api, (name, version) in _NEEDED.items() if not connection.supports(api, version)
    ]
    if lacking:
        why = "Replicator needs Apache Kafka 2.8 or newer"
        return [
            problem(
                where,
                f"doesn't offer {', '.join(lacking)}",
                why,
                "upgrade the brokers",
                UnsupportedVersionError.exit_code,
            )
        ]
    return [ok(where, "speaks all protocol versions that are needed")]


async def _brokers(where: str, client: ClusterClient) -> list[Finding]:
    """Every broker must be reachable under the address that it advertises: data is fetched from and sent to leaders."""

    async def reach(node: int) -> Finding | None:
        broker = client.brokers[node]
        try:
            await asyncio.wait_for(client.connection(node, "check"), _BROKER_TIMEOUT_S)
        except (ReplicatorError, TimeoutError) as error:
            what = f"broker {node} can't be reached at the address it advertises, {broker.host}:{broker.port}"
            step = "check advertised.listeners of that broker, name resolution, and firewalls between here and there"
            return problem(where, what, str(error), step, UnreachableError.exit_code)
        return None

    found = [finding for finding in await asyncio.gather(*map(reach, sorted(client.brokers))) if finding is not None]
    return found or [ok(where, f"all {len(client.brokers)} brokers reached at their advertised addresses")]


async def _link(settings: Settings, link: LinkConfig, where: str) -> list[Finding]:
    clients = [ClusterClient(alias, settings.clusters[alias], _CLIENT_ID) for alias in (link.source, link.target)]
    try:
        return await _examine_link(settings, link, where, clients[0], clients[1])
    finally:
        for client in clients:
            await client.close()


async def _examine_link(
    settings: Settings, link: LinkConfig, where: str, source: ClusterClient, target: ClusterClient
) -> list[Finding]:
    source_admin, target_admin = (
        Admin(client_properties(client.config, client_id=_CLIENT_ID), client.alias, timeout_s=_TIMEOUT_S)
        for client in (source, target)
    )
    plan = await TopicSync(link, source_admin, target_admin).plan()
    findings = _selected(link, where, plan)
    findings += await _lanes(link, where, target_admin)
    try:
        await refuse_missing_ledger(link, source_admin, target_admin, two_way=settings.returns(link))
    except WrongStateError as error:
        findings.append(problem(where, str(error), exit_code=WrongStateError.exit_code))
    findings += await _producers(settings, link)
    findings += await examine_permissions(settings, link, plan, (source, target), (source_admin, target_admin))
    levels = {finding.level for finding in findings}
    if Level.PROBLEM not in levels:
        everything = "that copying needs" if Level.WARNING in levels else "that the link needs"
        findings.append(ok(where, f"the principals may do all {everything}"))
    return findings


def _selected(link: LinkConfig, where: str, plan: TopicPlan) -> list[Finding]:
    findings = []
    refused = [name for name, found in sorted(plan.problems.items()) if found.reason is Reason.NOT_AUTHORIZED]
    if refused:
        first = plan.problems[refused[0]]
        what = f"{described(TOPIC, refused)} can't be copied: {first.reason}"
        findings.append(problem(where, what, first.detail, first.reason.next_step))
    for name, found in sorted(plan.problems.items()):
        if found.reason is Reason.NOT_AUTHORIZED:
            continue
        what = f"topic {name} can't be copied: {found.reason}"
        findings.append(problem(where, what, found.detail, found.reason.next_step))
    if plan.pairs:
        create = len(plan.create)
        what = f"{len(plan.pairs)} topics of {link.source} selected, {create} of them to be created on {link.target}"
        findings.append(ok(where, what))
    elif not plan.problems:
        what = f"no topic of {link.source} is selected"
        why = (
            f"{len(plan.skipped)} topics can be seen there: {_some(plan.skipped)}"
            if plan.skipped
            else "none can be seen there"
        )
        step = "`replicator topics` says why for each; topics are invisible without Describe on them"
        findings.append(warning(where, what, why, step))
    return findings


async def _lanes(link: LinkConfig, where: str, target: Admin) -> list[Finding]:
    ledger = (await target.describe_topics([ledger_topic(link.name)])).get(ledger_topic(link.name))
    if not isinstance(ledger, Topic) or ledger.partitions == link.lanes:
        return []
    what = f"the link was started with {ledger.partitions} lanes, and lanes is {link.lanes} now"
    step = f"write `lanes: {ledger.partitions}`"
    return [problem(where, what, "lanes are fixed once a link has started", step, 2)]


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
            on, both = [family(probe_id(link.name))], ("Describe", "Write")
            step = how_to_grant(TRANSACTIONAL_ID, on, both, config.security, prefixed=True)
            command = grant_command(TRANSACTIONAL_ID, on, both, config, prefixed=True)
            why = "delivery: exactly_once needs transactional ids"
            return [problem(where, what, why, f"{step}, or {SWITCH}", command=command)]
        step = how_to_grant(CLUSTER, (), (error.operation,), config.security)
        command = grant_command(CLUSTER, (), (error.operation,), config)
        return [problem(where, what, "nothing could be written", step, command=command)]
    return []


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
