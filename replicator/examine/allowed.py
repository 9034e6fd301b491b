"""Which of a link's `needs` aren't allowed, and in which words that is said."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from replicator.config.models import ClusterConfig
from replicator.errors import UnsupportedVersionError
from replicator.examine.finding import Finding, Level, warning
from replicator.examine.needs import Need, Purpose
from replicator.sync.group_client import GroupClient
from replicator.wire.authorized import Operations, authorized_topics
from replicator.wire.cluster import ClusterClient
from replicator.wire.permissions import CLUSTER, GROUP, TOPIC, described, grant_command, how_to_grant

_TOPICS_AT_ONCE = 500
_PATIENCE_S = 5.0  # with coordinators that aren't there yet
_PAUSE_S = 0.3
_OF_TOPICS = ("Create", "Describe", "DescribeConfigs", "Read", "Write", "Alter", "AlterConfigs", "Delete")
_ORDER = (*_OF_TOPICS, "IdempotentWrite")

Resource = tuple[str, str, str]  # cluster, kind, name


@dataclass(frozen=True, slots=True)
class Allowed:
    """What we may do with each resource, as the brokers say. `tried`: what was found out by trying it, or as much of
    it as changes nothing, which also tells where Describe isn't allowed; by resource and operation."""

    told: dict[Resource, Operations] = field(default_factory=dict)
    tried: dict[tuple[Resource, str], bool] = field(default_factory=dict)

    async def ask_topics(self, client: ClusterClient, names: Iterable[str]) -> None:
        """Of the cluster and these topics. ReplicatorError if it doesn't answer."""
        wanted = sorted(set(names))
        for first in range(0, max(1, len(wanted)), _TOPICS_AT_ONCE):
            some = wanted[first : first + _TOPICS_AT_ONCE]
            try:
                cluster, topics = await authorized_topics(await client.any_connection(), some)
            except UnsupportedVersionError:
                cluster, topics = None, dict.fromkeys(some)
            self.told[client.alias, CLUSTER, "kafka-cluster"] = cluster
            self.told.update({(client.alias, TOPIC, name): found for name, found in topics.items()})

    async def ask_groups(self, client: GroupClient, names: Collection[str]) -> None:
        """Of these groups. A coordinator that isn't there in some seconds leaves its groups untold."""
        left = set(names)
        until = asyncio.get_running_loop().time() + _PATIENCE_S
        while left:
            try:
                answer = await client.operations(left)
            except UnsupportedVersionError:
                answer = dict.fromkeys(left)
                until = 0.0
            self.told.update({(client.cluster.alias, GROUP, name): found for name, found in answer.items()})
            left = {name for name, found in answer.items() if found is None}
            if not left or asyncio.get_running_loop().time() > until:
                return
            await asyncio.sleep(_PAUSE_S)

    def hides(self, resource: Resource) -> bool:
        """Whether not even Describe is allowed, so that nothing else is told."""
        told = self.told.get(resource)
        return told is not None and "Describe" not in told

    def may_write(self, cluster: str) -> bool:
        """Whether there is a topic, of those asked for, that may be written."""
        return any(
            told is not None and "Write" in told
            for (alias, kind, _), told in self.told.items()
            if (alias, kind) == (cluster, TOPIC)
        )

    def allows(self, resource: Resource, operation: str) -> bool | None:
        """Whether this is allowed; None: it can't be known."""
        tried = self.tried.get((resource, operation))
        told = self.told.get(resource)
        if tried is not None or told is None:
            return tried
        return None if self.hides(resource) and operation != "Describe" else operation in told


def missing(needs: Iterable[Need], allowed: Allowed, clusters: Mapping[str, ClusterConfig]) -> list[Finding]:
    """What isn't allowed, or can't be known, what doesn't work because of it, and what to grant; the worst first."""
    lacking: dict[Resource, dict[str, dict[Purpose, None]]] = {}
    families: dict[Resource, str] = {}
    untold: dict[Resource, dict[Purpose, None]] = {}
    for need in needs:
        for name in need.names:
            resource = (need.cluster, need.kind, name)
            answer = allowed.allows(resource, need.operation)
            if answer:
                continue
            if need.family and name.startswith(need.family):
                families.setdefault(resource, need.family)
            if answer is None and not allowed.hides(resource):
                untold.setdefault(resource, {})[need.purpose] = None
            else:
                lacking.setdefault(resource, {}).setdefault(need.operation, {})[need.purpose] = None
    together: dict[tuple[str, str, str, bool, tuple[tuple[str, tuple[Purpose, ...]], ...]], list[str]] = {}
    for resource, by_operation in lacking.items():
        cluster, kind, name = resource
        items = [(operation, tuple(purposes)) for operation, purposes in by_operation.items()]
        unseen = allowed.hides(resource) and any((resource, operation) not in allowed.tried for operation, _ in items)
        for some in [items] if unseen else [[item] for item in items]:
            key = (cluster, kind, families.get(resource, ""), unseen, tuple(some))
            together.setdefault(key, []).append(name)
    findings = [
        _finding(clusters[cluster], f"cluster {cluster}", kind, names, dict(items), family, unseen=unseen)
        for (cluster, kind, family, unseen, items), names in together.items()
    ]
    findings.sort(key=lambda finding: finding.level is not Level.PROBLEM)
    return findings + _untold(untold)


def _finding(
    config: ClusterConfig,
    where: str,
    kind: str,
    names: Sequence[str],
    lacking: Mapping[str, Sequence[Purpose]],
    family: str,
    *,
    unseen: bool,
) -> Finding:
    operations = sorted({*lacking, "Describe"} if unseen else lacking, key=_ORDER.index)
    purposes = sorted(
        dict.fromkeys(each for some in lacking.values() for each in some), key=lambda each: not each.stops
    )
    on = described(kind, names)
    what = f"{operations[0]} isn't allowed on {on}"
    if unseen:
        more = ", so that it can't be known what else is" if len(operations) > 1 else ""
        what = f"Describe isn't allowed on {on}{more}"
    stops = any(purpose.stops for purpose in purposes)
    granted = [family] if family else names
    step = how_to_grant(kind, granted, operations, config.security, prefixed=bool(family))
    if all(purpose.instead for purpose in purposes):
        step += ", or " + " and ".join(dict.fromkeys(purpose.instead for purpose in purposes))
    return Finding(
        Level.PROBLEM if stops else Level.WARNING,
        where,
        what,
        "; ".join(dict.fromkeys(purpose.without for purpose in purposes)),
        step,
        1 if stops else 0,
        grant_command(kind, granted, operations, config, prefixed=bool(family)),
    )


def _untold(resources: Mapping[Resource, Mapping[Purpose, None]]) -> list[Finding]:
    together: dict[tuple[str, str], list[str]] = {}
    purposes: dict[tuple[str, str], dict[str, None]] = {}
    for (cluster, kind, name), some in resources.items():
        together.setdefault((cluster, kind), []).append(name)
        purposes.setdefault((cluster, kind), {}).update({purpose.without: None for purpose in some})
    return [
        warning(
            f"cluster {cluster}",
            f"what is allowed on {described(kind, names)} isn't known: the brokers don't say",
            "without the permission: " + "; ".join(purposes[cluster, kind]),
        )
        for (cluster, kind), names in together.items()
    ]
