"""Whether all is allowed that a link does on its clusters: asked of the brokers, without changing anything there.

Where no client has ever used a group, looking for a coordinator lets brokers create `__consumer_offsets`, as always.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from replicator.config.models import LinkConfig, Settings
from replicator.errors import AuthorizationError, ReplicatorError
from replicator.examine.allowed import Allowed, missing
from replicator.examine.finding import Finding, ok, problem, warning
from replicator.examine.needs import Known, Need, Needs
from replicator.ledger.client_errors import RefusedError
from replicator.ledger.topic import REPLICATION_FACTOR, internal_topics
from replicator.sync.admin import Admin, TopicSpec
from replicator.sync.group_client import GroupClient
from replicator.sync.group_filter import GroupFilter
from replicator.sync.topics import TopicPlan
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.kafka_errors import BrokerError
from replicator.wire.permissions import CLUSTER, GROUP, TOPIC
from replicator.wire.produce import PRODUCE, PROVEN_VERSION
from replicator.wire.producer_id import init_producer_id

_TOPIC_ALREADY_EXISTS = 36
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")  # an `include` that is, or may be, a name rather than a pattern


async def examine_permissions(
    settings: Settings,
    link: LinkConfig,
    plan: TopicPlan,
    clients: tuple[ClusterClient, ClusterClient],
    admins: tuple[Admin, Admin],
) -> list[Finding]:
    """Is everything allowed that the link does on its clusters, with what is there and with what will be?"""
    source, target = clients
    allowed = Allowed()
    groups, hidden_groups = await _groups(link, plan, GroupClient(source), allowed)
    fenced = (
        link.delivery == "exactly_once"
        and link.writing == "auto"
        and (await target.any_connection()).supports(PRODUCE, PROVEN_VERSION)
    )
    views = [await client.all_topics() for client in clients]
    known = Known(
        source_topics=views[0].topics.keys(),
        target_topics=views[1].topics.keys(),
        groups=groups | hidden_groups,
        hidden=await _hidden_topics(link, source, views[0].topics, allowed),
        fenced=fenced,
    )
    needs = Needs(settings, link, plan, known).all()
    for client in clients:
        mine = [need for need in needs if need.cluster == client.alias]
        await allowed.ask_topics(client, {name for need in mine if need.kind == TOPIC for name in need.names})
        asked = {name for need in mine if need.kind == GROUP for name in need.names}
        await allowed.ask_groups(GroupClient(client), asked)
    findings = await _try_creating(link, plan, needs, admins, allowed)
    if fenced:
        await _try_reading_broker(target, admins[1], allowed)
    for client in clients:
        if any((need.cluster, need.operation) == (client.alias, "IdempotentWrite") for need in needs):
            await _try_producing(client, allowed)
    findings += missing(needs, allowed, settings.clusters)
    if link.sync.groups or link.sync.checkpoints:
        seen = f"{len(groups)} groups of {link.source} have positions in topics of the link"
        findings.append(ok(f"link {link.name}", f"{seen}, of those that may be described"))
    return findings


async def _groups(
    link: LinkConfig, plan: TopicPlan, client: GroupClient, allowed: Allowed
) -> tuple[set[str], set[str]]:
    """The source's groups to be kept in step, and those named by `groups.include` that we mayn't see."""
    if not (link.sync.groups or link.sync.checkpoints):
        return set(), set()
    chosen = GroupFilter(link.groups)
    if not client.cluster.brokers:
        await client.cluster.all_topics()
    listed = await client.groups()
    found = await client.positions(chosen.choose(listed.values()))
    groups = {
        group
        for group, positions in found.items()
        if positions.error == codes.GROUP_AUTHORIZATION_FAILED
        or any(topic in plan.pairs for topic, _ in positions.committed)
    }
    named = {
        name for name in link.groups.include if _PLAIN_NAME.fullmatch(name) and chosen.selects(name)
    } - listed.keys()
    await allowed.ask_groups(client, named)
    return groups, {name for name in named if allowed.hides((link.source, GROUP, name))}


async def _hidden_topics(
    link: LinkConfig, source: ClusterClient, visible: Collection[str], allowed: Allowed
) -> set[str]:
    """Those that `topics.include` names, and that we mayn't see."""
    named = {name for name in link.topics.include if _PLAIN_NAME.fullmatch(name) and link.selects(name)} - set(visible)
    await allowed.ask_topics(source, named)
    return {name for name in named if allowed.hides((link.source, TOPIC, name))}


async def _try_creating(
    link: LinkConfig, plan: TopicPlan, needs: Iterable[Need], admins: tuple[Admin, Admin], allowed: Allowed
) -> list[Finding]:
    """Of the topics to be created: whether that is allowed, and what else brokers have against it."""
    findings = []
    for admin in admins:
        names = {n for need in needs if (need.cluster, need.operation) == (admin.cluster, "Create") for n in need.names}
        brokers = len((await admin.describe_cluster()).brokers) if names else 1
        planned = {spec.name: spec for spec in plan.create if admin.cluster == link.target}
        own = {
            topic.name: TopicSpec(topic.name, topic.partitions, topic.replication_factor, topic.configs)
            for topic in internal_topics(link, brokers)
        }
        factor = (admin.cluster == link.target and link.replication_factor) or min(REPLICATION_FACTOR, brokers)
        others = {name: TopicSpec(name, 1, factor, {"cleanup.policy": "compact"}) for name in names}
        specs = {**others, **own, **planned}
        answers = await admin.create_topics([specs[name] for name in sorted(names)], validate_only=True)
        for name, error in answers.items():
            allowed.tried[(admin.cluster, TOPIC, name), "Create"] = not isinstance(error, AuthorizationError)
            exists = isinstance(error, RefusedError) and error.code == _TOPIC_ALREADY_EXISTS
            if isinstance(error, ReplicatorError) and not isinstance(error, AuthorizationError) and not exists:
                cluster = f"cluster {admin.cluster}"
                if name in planned or name in own:
                    kind = "topic" if name in planned else "internal topic"
                    findings.append(problem(cluster, f"{kind} {name} couldn't be created", str(error)))
                else:
                    findings.append(warning(cluster, f"topic {name} couldn't be created", str(error)))
    return findings


async def _try_reading_broker(target: ClusterClient, admin: Admin, allowed: Allowed) -> None:
    question = (target.alias, CLUSTER, "kafka-cluster"), "DescribeConfigs"
    try:
        await admin.describe_broker(min(target.brokers))
    except AuthorizationError:
        allowed.tried[question] = False
    except ReplicatorError:
        return  # it stays as the cluster itself says
    else:
        allowed.tried[question] = True


async def _try_producing(client: ClusterClient, allowed: Allowed) -> None:
    """With ACLs Write on a topic is enough, with IAM it isn't: only who may write, and is refused, needs more."""
    question = (client.alias, CLUSTER, "kafka-cluster"), "IdempotentWrite"
    allowed.tried[question] = True
    try:
        await init_producer_id(await client.any_connection())
    except BrokerError as error:
        if error.code == codes.CLUSTER_AUTHORIZATION_FAILED:
            allowed.tried[question] = not allowed.may_write(client.alias)
