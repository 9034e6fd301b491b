"""The consumer groups of one cluster: lists them, reads and writes their positions, wherever their coordinators are.

What brokers answer is compared with what they answered last, by a digest of its bytes: only what has changed is
decoded, and what has not is the same object as before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from hashlib import blake2b
from typing import TypeVar

import structlog

from replicator.errors import AuthenticationError, ReplicatorError, UnreachableError
from replicator.wire import groups as wire
from replicator.wire import kafka_errors as codes
from replicator.wire.authorized import Operations, authorized_groups
from replicator.wire.cluster import ClusterClient
from replicator.wire.connection import Connection
from replicator.wire.groups import Key, ListedGroup, Positions
from replicator.wire.kafka_errors import BrokerError

T = TypeVar("T")

_SLOT = "groups"
_TRIES = 3  # with other coordinators
_ANSWERS = 1_000  # kept, to be compared with
_LOST = frozenset({codes.COORDINATOR_NOT_AVAILABLE, codes.NOT_COORDINATOR})

log = structlog.get_logger(__name__)


class GroupClient:
    """Belongs to one event loop. Uses the cluster's client, with a connection of its own to each broker."""

    def __init__(self, cluster: ClusterClient) -> None:
        self.cluster = cluster
        self._coordinators: dict[str, int] = {}
        self._listed: dict[int, tuple[bytes, list[ListedGroup]]] = {}  # by node, with the answer's digest
        self._groups: dict[str, ListedGroup] = {}
        self._answers: dict[tuple[int, tuple[str, ...]], tuple[bytes, dict[str, Positions]]] = {}
        self._away: set[int] = set()

    async def groups(self) -> dict[str, ListedGroup]:
        """All groups that we may see; the same object as last time if nothing has changed.

        Those of a broker that doesn't answer are as they were last; UnreachableError when none does.
        """
        nodes = list(self.cluster.brokers)
        if not nodes:
            raise UnreachableError(f"cluster {self.cluster.alias}: no broker is known")
        answers = await asyncio.gather(*(self._list(node) for node in nodes), return_exceptions=True)
        changed = bool(self._listed.keys() - set(nodes))
        failed: dict[int, ReplicatorError] = {}
        for node, answer in zip(nodes, answers, strict=True):
            if isinstance(answer, ReplicatorError):
                failed[node] = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                changed |= answer
        if len(failed) == len(nodes):
            raise next(iter(failed.values()))
        for node in failed.keys() - self._away:
            log.warning("a broker doesn't list its groups", cluster=self.cluster.alias, error=str(failed[node]))
        self._away = set(failed)
        if changed:
            self._listed = {node: listed for node, listed in self._listed.items() if node in nodes}
            self._groups = {each.group: each for _, listed in self._listed.values() for each in listed}
        return self._groups

    async def _list(self, node: int) -> bool:
        connection = await self.cluster.connection(node, _SLOT)
        answer = await wire.list_groups(connection)
        digest = blake2b(answer).digest()
        known = self._listed.get(node)
        if known is not None and known[0] == digest:
            return False
        self._listed[node] = digest, wire.decode_groups(connection, answer)
        return True

    async def positions(self, groups: Collection[str]) -> dict[str, Positions]:
        """The positions of each of these groups. A coordinator that isn't there now gives its groups an `error`."""
        found: dict[str, Positions] = {}
        left = sorted(groups)
        for attempt in range(_TRIES):
            by_node, failed = await self._by_coordinator(left)
            found.update(failed)
            asked = await asyncio.gather(*(self._of_node(node, named) for node, named in by_node.items()))
            left = []
            for answer in asked:
                for group, positions in answer.items():
                    if positions.error in _LOST:
                        self._coordinators.pop(group, None)
                        if attempt + 1 < _TRIES:
                            left.append(group)
                            continue
                    found[group] = positions
            if not left:
                break
        return found

    async def commit(self, group: str, positions: Mapping[Key, tuple[int, str]]) -> dict[Key, int]:
        """Write positions (offset, metadata) of a group without members; an error code for each.

        UnreachableError: nobody knows whether they were written.
        """

        async def call(connection: Connection) -> dict[Key, int]:
            answer = await wire.commit_positions(connection, group, positions)
            for code in answer.values():
                if code in _LOST:
                    raise BrokerError(code, f"cluster {self.cluster.alias}: commit positions of group {group}")
            return answer

        return await self._at_coordinator(group, call)

    async def delete(self, group: str, positions: Collection[Key] | None) -> None:
        """Delete these positions of a group, or all of it. ReplicatorError if it is refused; gone already is fine."""

        async def call(connection: Connection) -> None:
            if positions is None:
                code = await wire.delete_group(connection, group)
                if code not in (codes.NONE, codes.GROUP_ID_NOT_FOUND):
                    raise BrokerError(code, f"cluster {self.cluster.alias}: delete group {group}")
                return
            try:
                answer = await wire.delete_positions(connection, group, positions)
            except BrokerError as error:
                if error.code == codes.GROUP_ID_NOT_FOUND:
                    return
                raise
            for (topic, partition), code in answer.items():
                if code not in (codes.NONE, codes.UNKNOWN_TOPIC_OR_PARTITION):
                    where = f"group {group}'s position in {topic}-{partition}"
                    raise BrokerError(code, f"cluster {self.cluster.alias}: delete {where}")

        await self._at_coordinator(group, call)

    async def operations(self, groups: Collection[str]) -> dict[str, Operations]:
        """What we may do with each of these groups, there or not; None where its coordinator isn't there now."""
        by_node, failed = await self._by_coordinator(sorted(groups))
        found: dict[str, Operations] = {
            group: frozenset() if answer.error == codes.GROUP_AUTHORIZATION_FAILED else None
            for group, answer in failed.items()
        }
        for node, named in by_node.items():
            for first in range(0, len(named), wire.MANY_GROUPS):
                some = named[first : first + wire.MANY_GROUPS]
                try:
                    answers = await authorized_groups(await self.cluster.connection(node, _SLOT), some)
                except UnreachableError:
                    answers = {}
                for group in some:
                    answer = answers.get(group)
                    found[group] = None if answer is None else answer.operations
                    if found[group] is None:
                        self._coordinators.pop(group, None)
        return found

    async def _at_coordinator(self, group: str, call: Callable[[Connection], Awaitable[T]]) -> T:
        last: ReplicatorError | None = None
        for _ in range(_TRIES):
            by_node, failed = await self._by_coordinator([group])
            if failed:
                last = BrokerError(failed[group].error, f"cluster {self.cluster.alias}: coordinator of group {group}")
                break
            (node,) = by_node
            try:
                return await call(await self.cluster.connection(node, _SLOT))
            except BrokerError as error:
                if error.code not in _LOST:
                    raise
                last = error
                self._coordinators.pop(group, None)
            except UnreachableError:
                self._coordinators.pop(group, None)
                raise
        assert last is not None
        raise last

    async def _by_coordinator(self, groups: Sequence[str]) -> tuple[dict[int, list[str]], dict[str, Positions]]:
        """The groups by coordinator, and those that have none now."""
        unknown = [group for group in groups if self._coordinators.get(group) not in self.cluster.brokers]
        failed: dict[str, Positions] = {}
        while unknown:
            connection = await self._any()
            some = unknown[: wire.groups_per_question(connection)]
            del unknown[: len(some)]
            for group, answer in (await wire.find_coordinators(connection, some)).items():
                if answer.error == codes.NONE and answer.node in self.cluster.brokers:
                    self._coordinators[group] = answer.node
                else:
                    failed[group] = Positions(answer.error or codes.COORDINATOR_NOT_AVAILABLE, {})
        by_node: dict[int, list[str]] = {}
        for group in groups:
            if group not in failed:
                by_node.setdefault(self._coordinators[group], []).append(group)
        return by_node, failed

    async def _any(self) -> Connection:
        last: ReplicatorError | None = None
        for node in sorted(self.cluster.brokers, key=lambda node: node in self._away):
            try:
                return await self.cluster.connection(node, _SLOT)
            except UnreachableError as error:
                last = error
        raise last or UnreachableError(f"cluster {self.cluster.alias}: no broker is known")

    async def _of_node(self, node: int, groups: Sequence[str]) -> dict[str, Positions]:
        found: dict[str, Positions] = {}
        try:
            connection = await self.cluster.connection(node, _SLOT)
            size = wire.groups_per_question(connection)
            for first in range(0, len(groups), size):
                found.update(await self._ask(connection, node, tuple(groups[first : first + size])))
        except AuthenticationError:
            raise
        except ReplicatorError as error:
            log.debug("a coordinator doesn't answer", cluster=self.cluster.alias, node=node, error=str(error))
            for group in groups:
                self._coordinators.pop(group, None)
                found.setdefault(group, Positions(codes.COORDINATOR_NOT_AVAILABLE, {}))
        return found

    async def _ask(self, connection: Connection, node: int, groups: tuple[str, ...]) -> dict[str, Positions]:
        answer = await wire.fetch_positions(connection, groups)
        digest = blake2b(answer).digest()
        last, before = self._answers.pop((node, groups), (b"", {}))
        if last == digest:
            found = before
        else:
            found = wire.decode_positions(connection, groups, answer)
            for group, positions in found.items():
                if before.get(group) == positions:
                    found[group] = before[group]
        while len(self._answers) >= _ANSWERS:
            del self._answers[next(iter(self._answers))]
        self._answers[node, groups] = digest, found
        return found
