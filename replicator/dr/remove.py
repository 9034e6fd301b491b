"""`replicator remove`: what a link has made for itself goes, so that nothing of it is left but the copies.

Nobody may work on the link meanwhile: on the command line it is refused while workers run, through the API they are
asked to leave first (`ledger.leaving`), and have left once its group has no members. The order is what makes it safe to
be interrupted and run again: the control topic says what else there is, so it goes last. Topics of MirrorMaker's kind
(heartbeats, checkpoints) carry the names of clusters, not of the link, and may be another link's or MirrorMaker's own:
they stay, as do copies, their settings, and groups' positions.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.dr.desk import Desk, read_trail
from replicator.errors import ReplicatorError, WrongStateError
from replicator.ledger.client_errors import RefusedError
from replicator.ledger.control_client import ControlClient
from replicator.ledger.lanes import control_topic, group_id, ledger_topic, map_topic
from replicator.ledger.leaving import Leave, encode_leave, leave_key
from replicator.sync.acl import Acl, created_key, take_created
from replicator.sync.acl_admin import AclAdmin
from replicator.sync.admin import Admin, Group
from replicator.wire.cluster import ClusterClient
from replicator.wire.kafka_errors import SECURITY_DISABLED

Say = Callable[[str], None]
_LOOK_S = 0.5
_GONE = "DEAD"  # the state of a group that doesn't exist


@dataclass(frozen=True, slots=True)
class Belongings:
    """What is a link's own, on clusters as they are now. `groups` are (cluster's name, group); `workers` who runs."""

    topics: tuple[str, ...]
    groups: tuple[tuple[str, str], ...]
    acls: tuple[Acl, ...]
    workers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what couldn't be asked, and what stays

    def __bool__(self) -> bool:
        return bool(self.topics or self.groups or self.acls)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "topics": list(self.topics),
            "groups": [{"cluster": cluster, "group": group} for cluster, group in self.groups],
            "acls": [{"resource": acl.resource, "what": acl.what, **acl._asdict()} for acl in self.acls],
            "notes": list(self.notes),
        }


def belongings(settings: Settings, link: LinkConfig) -> Belongings:
    """What `remove` would delete. Reads only. ReplicatorError if the target can't say; the source needn't answer."""
    return asyncio.run(_belongings(settings, link))


def refuse_needed(settings: Settings, link: LinkConfig, removed: Collection[str]) -> None:
    """WrongStateError if the file has a link that still needs this one's ledger, and that isn't removed with it."""
    if not settings.returns(link):
        return
    names = [
        other.name
        for other in settings.links
        if other.source == link.target and other.topics.naming == "identical" and other.name not in removed
    ]
    if names:
        raise WrongStateError(
            f"link {link.name}: link {names[0]} tells by this link's ledger what not to copy back to {link.source}, "
            f"and would copy all of it without: remove it first from the configuration, or both in one command "
            f"on the clusters (--link {link.name} --link {names[0]}, without --api). Nothing was changed"
        )


def refuse_running(link: LinkConfig, found: Belongings) -> None:
    """WrongStateError if a worker runs."""
    if found.workers:
        raise WrongStateError(
            f"link {link.name}: workers run: {', '.join(found.workers)}; take the link out of their configuration "
            "(`replicator apply`) or stop them, then run this again. Nothing was changed"
        )


def remove(
    settings: Settings, link: LinkConfig, *, save_audit: Path, say: Say, by: str = "", leave_s: float | None = None
) -> Belongings:
    """Delete what is the link's own; what was deleted. Run again after an interruption it goes on with the rest.

    The audit trail is in the file `save_audit` before anything is deleted. WrongStateError, and nothing is changed,
    while a worker runs for the link, or somebody is at work on it. With `leave_s` workers are asked to leave the link
    first, and have so many seconds for it; if nothing comes of the removal they go on by themselves.
    """
    found = belongings(settings, link)
    never_ran = control_topic(link.name) not in found.topics  # or all of this has been done before
    if leave_s is None or never_ran:
        refuse_running(link, found)
    if never_ran:
        asyncio.run(_delete(settings, link, found, say))
        return found
    with Desk(settings, link, "remove", f"--link {link.name}", by=by) as desk:
        if leave_s is not None:
            with _nobody_at_work(settings, link, desk, leave_s, say):
                return _remove(settings, link, desk, save_audit, say)
        return _remove(settings, link, desk, save_audit, say)


def _remove(settings: Settings, link: LinkConfig, desk: Desk, save_audit: Path, say: Say) -> Belongings:
    found = belongings(settings, link)
    refuse_running(link, found)
    desk.detail = f"{len(found.acls)} ACLs, {len(found.groups)} groups, {len(found.topics)} topics"
    desk.note("begun")
    save_trail(settings, link, save_audit)
    say(f"{link.name}: audit trail saved to {save_audit}")
    asyncio.run(_delete(settings, link, found, say, desk))
    return found


@contextmanager
def _nobody_at_work(settings: Settings, link: LinkConfig, desk: Desk, leave_s: float, say: Say) -> Iterator[None]:
    """Workers have left the link, until the context ends. WrongStateError that names those who haven't, in time."""
    desk.write([encode_leave(Leave(desk.claim, desk.by))])
    try:
        deadline = time.monotonic() + leave_s
        told = -1
        while (workers := asyncio.run(_workers(settings, link))) and time.monotonic() < deadline:
            if len(workers) != told:
                told = len(workers)
                say(f"{link.name}: waiting for {told} workers to leave: {', '.join(workers)}")
            desk.renew()
            time.sleep(_LOOK_S)
        if workers:
            raise WrongStateError(
                f"link {link.name}: {', '.join(workers)} didn't leave within {leave_s:g} s: they hang, can't read the "
                "control topic, or are of a release before this one; stop them, or take the link out of their "
                "configuration (`replicator apply`), then give the order again. Nothing was changed"
            )
        yield
    finally:
        if not desk.gone:
            desk.write([(leave_key(desk.claim), None)])


def save_trail(settings: Settings, link: LinkConfig, file: Path) -> None:
    """The audit trail, the newest first, as JSON; an earlier file of that name is replaced once this one is whole."""
    rows = [{**asdict(each), "id": str(each.id)} for each in read_trail(settings, link)]
    new = file.with_name(f"{file.name}.new")
    new.write_text(json.dumps({"link": link.name, "audit": rows}, indent=2) + "\n")
    new.replace(file)


async def _belongings(settings: Settings, link: LinkConfig) -> Belongings:
    target, source = _admin(settings, link, link.target), _admin(settings, link, link.source)
    known = await target.list_topics()
    names = ledger_topic(link.name), map_topic(link.name), control_topic(link.name)  # the last one goes last
    topics = tuple(name for name in names if name in known)
    notes = [f"{name} stays: it may be another link's, or MirrorMaker's" for name in _shared(link) if name in known]
    there = await _groups(target, link, known)
    workers = _members(link, there)
    groups = [(link.target, group.group_id) for group in there]
    try:
        others = await source.list_topics()
        groups += [(link.source, group.group_id) for group in await _groups(source, link, others)]
    except ReplicatorError as error:
        notes.append(f"cluster {link.source} wasn't looked at: {error}")
    acls = await asyncio.to_thread(_created, settings, link) if control_topic(link.name) in topics else set()
    return Belongings(topics, tuple(groups), tuple(sorted(acls)), workers, tuple(notes))


async def _workers(settings: Settings, link: LinkConfig) -> tuple[str, ...]:
    return _members(link, await _groups(_admin(settings, link, link.target), link, ()))


def _members(link: LinkConfig, groups: Sequence[Group]) -> tuple[str, ...]:
    """Who works on the link: those that are in its group."""
    return tuple(
        f"{member.client_id} on {member.host.removeprefix('/')}"
        for group in groups
        if group.group_id == group_id(link.name)
        for member in group.members
    )


def _shared(link: LinkConfig) -> tuple[str, ...]:
    return "heartbeats", f"{link.source}.checkpoints.internal"


async def _groups(admin: Admin, link: LinkConfig, topics: Collection[str]) -> list[Group]:
    """The link's groups that exist there. A name may also be that of another link's workers: then it isn't ours."""
    own = group_id(link.name)
    beside = {f"{own}.{part}": f"{link.name}.{part}" for part in ("reader", "verify")}
    names = [own, *(group for group, other in beside.items() if ledger_topic(other) not in topics)]
    found: list[Group] = []
    for name, answer in (await admin.describe_groups(names)).items():
        if isinstance(answer, Group):
            if answer.state != _GONE:
                found.append(answer)
        elif name == own or answer.retriable:
            raise answer
    return found


def _created(settings: Settings, link: LinkConfig) -> set[Acl]:
    properties = client_properties(settings.clusters[link.target], client_id=f"replicator-{link.name}-remove")
    found: set[Acl] = set()
    with ControlClient(properties, link.name, cluster=link.target) as control:
        for key, value in control.read():
            take_created(found, key, value)
    return found


async def _delete(settings: Settings, link: LinkConfig, found: Belongings, say: Say, desk: Desk | None = None) -> None:
    target, source = _admin(settings, link, link.target), _admin(settings, link, link.source)
    if found.acls:
        await _delete_acls(settings, link, target, found.acls)
        say(f"{link.name}: {len(found.acls)} ACLs deleted")
    for admin in (target, source):
        groups = [group for cluster, group in found.groups if cluster == admin.cluster]
        answers = await admin.delete_groups(groups)
        _raise_first(answers.values(), unless="GROUP_ID_NOT_FOUND")
        if groups:
            say(f"{link.name}: groups deleted on {admin.cluster}: {', '.join(groups)}")
    control = control_topic(link.name)
    for topic in found.topics:
        if desk is not None:
            desk.renew()
            desk.gone = topic == control  # from now on: whether or not we hear the answer
        _raise_first((await target.delete_topics([topic])).values(), unless="UNKNOWN_TOPIC_OR_PART")
        say(f"{link.name}: topic {topic} deleted")


async def _delete_acls(settings: Settings, link: LinkConfig, admin: Admin, acls: Sequence[Acl]) -> None:
    client = ClusterClient(link.target, settings.clusters[link.target], f"replicator-{link.name}-remove")
    try:
        answers = await AclAdmin(admin, client).delete(acls)
    finally:
        await client.close()
    refused = {acl: answer for acl, answer in answers.items() if answer is not None and not _disabled(answer)}
    gone = [acl for acl in acls if acl not in refused]
    properties = client_properties(settings.clusters[link.target], client_id=f"replicator-{link.name}-remove")
    with ControlClient(properties, link.name, cluster=link.target) as control:
        control.write([(created_key(acl), None) for acl in gone])  # somebody may create the same one again
    if refused:
        raise next(iter(refused.values()))


def _disabled(error: ReplicatorError) -> bool:
    """Whether the cluster has no authorizer any more, and so no ACLs."""
    return isinstance(error, RefusedError) and error.code == SECURITY_DISABLED


def _raise_first(answers: Collection[ReplicatorError | None], unless: str) -> None:
    for answer in answers:
        if answer is not None and not (isinstance(answer, RefusedError) and answer.name == unless):
            raise answer


def _admin(settings: Settings, link: LinkConfig, alias: str) -> Admin:
    return Admin(client_properties(settings.clusters[alias], client_id=f"replicator-{link.name}-remove"), alias)
