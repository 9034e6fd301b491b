"""Keeps the ACLs of copies in step with their sources' (`acl_rules`).

Deleted is only what this link created: that is written into the control topic before it is created, so that a crash
at any point leaves no ACL that nobody knows of. An ACL that was there before is somebody else's, and stays.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import structlog

from replicator.config.models import LinkConfig
from replicator.errors import AuthorizationError, ReplicatorError, UnsupportedVersionError
from replicator.ledger.client_errors import RefusedError
from replicator.ledger.log import KeyValue
from replicator.sync.acl import Acl, created_key, encode_created
from replicator.sync.acl_admin import AclAdmin
from replicator.sync.acl_rules import AclRules
from replicator.sync.plan import Change, Held, Kind, SyncPlan, Why
from replicator.wire.iam import CLUSTER, in_iam
from replicator.wire.kafka_errors import SECURITY_DISABLED

log = structlog.get_logger(__name__)

_REST = 20  # times what reading took: thousands of ACLs mustn't take more than a twentieth of a core

Write = Callable[[Sequence[KeyValue]], Awaitable[None]]
Read = Callable[[], Awaitable[Collection[Acl]]]


class AclSync:
    """`Syncer` of one link.

    `topics`: the source topics that are copied. `created`: the ACLs that this link says it created, `foreign`: those
    on the source that other links created there, which aren't copied on; `write` appends to the control topic.
    """

    def __init__(
        self,
        link: LinkConfig,
        topics: Callable[[], Collection[str]],
        source: AclAdmin,
        target: AclAdmin,
        *,
        created: Read,
        foreign: Read,
        write: Write,
        principals: tuple[str, str] = ("the principal", "the principal"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._rules = AclRules(link)
        self._topics = topics
        self._source = source
        self._target = target
        self._created = created
        self._foreign = foreign
        self._write = write
        self._principals = principals
        self._clock = clock
        self._planned: dict[Change, Acl] = {}
        self._forgotten: frozenset[Acl] = frozenset()  # ours by the records, and neither there nor wanted
        self._rest_until = 0.0
        self._last = SyncPlan()

    async def plan(self) -> SyncPlan:
        """What differs; while it rests, what was held last. ReplicatorError when a cluster doesn't answer."""
        began = self._clock()
        if began < self._rest_until:
            self._forgotten = frozenset()
            return SyncPlan((), self._last.held)
        self._last = await self._look()
        self._rest_until = self._clock() + _REST * (self._clock() - began)
        return self._last

    async def _look(self) -> SyncPlan:
        self._planned, self._forgotten = {}, frozenset()
        sides: list[Collection[Acl]] = []
        held: list[Held] = []
        for number, side in enumerate((self._source, self._target)):
            try:
                acls, unknown = await side.read(self._rules.kinds)
            except ReplicatorError as error:
                held.append(self._unreadable(side, number, error))
                continue
            sides.append(acls)
            if unknown and number == 0:
                detail = f"{unknown} ACLs of cluster {side.cluster} name operations that aren't known here: not copied."
                held.append(Held(Kind.ACL, f"cluster {side.cluster}", Why.UNSUPPORTED, detail))
        if len(sides) < 2:
            return SyncPlan((), tuple(held))
        theirs, present = frozenset(sides[0]) - frozenset(await self._foreign()), frozenset(sides[1])
        ours = set(await self._created())
        wanted = self._rules.desired(theirs, self._topics())
        obsolete = ours - self._rules.possible(theirs)
        for acl in sorted(wanted - present):
            self._planned[Change(Kind.ACL, acl.resource, acl.what, None, acl.permission)] = acl
        for acl in sorted(obsolete & present):
            self._planned[Change(Kind.ACL, acl.resource, acl.what, acl.permission, None)] = acl
        self._forgotten = frozenset(obsolete - present)
        return SyncPlan(tuple(self._planned), tuple(held))

    async def apply(self, plan: SyncPlan) -> tuple[Held, ...]:
        """Create and delete; what the target refused."""
        changes = [(change, self._planned[change]) for change in plan.changes if change in self._planned]
        create = {acl: change for change, acl in changes if change.before is None}
        delete = {acl: change for change, acl in changes if change.before is not None}
        now_ms = int(time.time() * 1000)
        if create:
            await self._write([encode_created(acl, now_ms) for acl in create])
        refused = await self._report("created", create, await self._target.create(create))
        refused_deletions = await self._report("deleted", delete, await self._target.delete(delete))
        gone = (delete.keys() - refused_deletions.keys()) | refused.keys() | self._forgotten
        if gone:
            await self._write([(created_key(acl), None) for acl in sorted(gone)])
        self._forgotten = frozenset()
        if changes:
            self._rest_until = 0.0
        return tuple(dict.fromkeys([*refused.values(), *refused_deletions.values()]))

    async def _report(
        self, done: str, changes: Mapping[Acl, Change], answers: Mapping[Acl, ReplicatorError | None]
    ) -> dict[Acl, Held]:
        refused: dict[Acl, Held] = {}
        for acl, change in changes.items():
            error = answers.get(acl)
            if error is None:
                log.info(f"ACL {done}", link=self._link.name, resource=acl.resource, acl=acl.what, is_a=acl.permission)
            elif isinstance(error, AuthorizationError):
                refused[acl] = self._unreadable(self._target, 1, error, "Alter")
            else:
                detail = f"{acl.permission} {acl.what} can't be {done}: {error}"
                refused[acl] = Held(Kind.ACL, change.resource, Why.REFUSED, detail)
        return refused

    def _unreadable(self, side: AclAdmin, number: int, error: ReplicatorError, operation: str = "Describe") -> Held:
        """What stands for the error, if it is one of those that concern ACLs alone; otherwise it is raised."""
        cluster = f"cluster {side.cluster}"
        silence = "or set `sync.acls: false`"
        if isinstance(error, UnsupportedVersionError) or (
            isinstance(error, RefusedError) and error.code == SECURITY_DISABLED
        ):
            detail = f"C{cluster[1:]} has no authorizer, so ACLs aren't copied; set `sync.acls: false` to silence this."
            return Held(Kind.ACL, cluster, Why.NO_AUTHORIZER, detail)
        if isinstance(error, AuthorizationError):
            grant = f"grant {operation} on {cluster} to {self._principals[number]} ({in_iam(CLUSTER, operation)})"
            verb = "read" if operation == "Describe" else "changed"
            return Held(Kind.ACL, cluster, Why.NOT_AUTHORIZED, f"Its ACLs can't be {verb}: {grant}, {silence}.")
        raise error
