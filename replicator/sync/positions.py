"""Where a position on a link's source is on its target: exactly, through the offset map of whoever copied the topic.

That is this link for what it copies, and the link in the other direction for topics that came from the target: its map
read in reverse. That link's ledger is on our source; which links are opposite, topic ids tell: they copy topics that
the target has. Where both copy into one name, a position on one side is two on the other, and the smaller one counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from replicator.config.models import LinkConfig, Settings
from replicator.errors import ReplicatorError
from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.desired import RELEASED
from replicator.ledger.group_state import GroupTopic
from replicator.ledger.identity import Identity, explain, identify
from replicator.ledger.lanes import link_of_ledger
from replicator.ledger.offset_map import MapCache
from replicator.ledger.selection import skip_reason
from replicator.ledger.translation import BEYOND, COPIED, Located
from replicator.sync.link_map import Known, LinkMap
from replicator.sync.one_name import Side, first_unread
from replicator.wire.cluster import ClusterClient
from replicator.wire.primitives import NO_TOPIC_ID

Key = tuple[str, int]

_ALL_COPIED = frozenset({COPIED})
_LEDGER_ROUNDS = 6  # between two looks for ledgers that are new on the source

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Translated:
    """A position on the target. `offset` is at most `error_bound` records before the exact one, never behind it.

    `final`: it stays so as long as `basis` is the same. `where`: see `ledger.translation`. `of_two`: it is the smaller
    of two, since both directions copy into this name.
    """

    offset: int
    error_bound: int
    where: str
    final: bool
    basis: int
    of_two: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why a position can't be translated now."""

    detail: str


Translation = Translated | Unknown


class Positions:
    """Of one link. Writes nothing; belongs to one event loop. Both clients must know their clusters' topics."""

    def __init__(self, settings: Settings, link: LinkConfig, source: ClusterClient, target: ClusterClient) -> None:
        self._link = link
        self._source_of = {each.name: (each.source, each.target) for each in settings.links}
        self._led_back = {each.reverse_of for each in settings.links if each.name != link.name}
        self._source, self._target = source, target
        self._cache = MapCache()
        self._own = LinkMap(link.name, target, self._cache)
        self._opposite: dict[str, LinkMap] = {}
        self._came_from: dict[str, list[tuple[LinkMap, str]]] = {}  # our topic -> whose, and its name there
        self._selected: dict[str, bool] = {}
        self._rounds = 0
        self._said: set[str] = set()

    @property
    def exists(self) -> bool:
        """Whether the link has a ledger."""
        return self._own.exists

    @property
    def groups(self) -> dict[tuple[str, str], GroupTopic]:
        """What this link has noted of groups, as of the last refresh, by group and target topic."""
        return self._own.groups

    def groups_of_opposite(self, group: str, topic: str) -> list[GroupTopic]:
        """What links in the other direction have noted of a group in a topic of our source."""
        return [state for each in self._opposite.values() if (state := each.groups.get((group, topic))) is not None]

    async def refresh(self) -> None:
        """Bring entries up to date. ReplicatorError if our own ledger can't be read."""
        await self._own.refresh()
        if self._rounds % _LEDGER_ROUNDS == 0:
            self._find_opposite()
        self._rounds += 1
        for opposite in list(self._opposite.values()):
            try:
                await opposite.refresh()
            except ReplicatorError as error:
                self._say(f"can't read the ledger of link {opposite.link}", error)
        await self._index()

    def _find_opposite(self) -> None:
        for topic in list(self._source.topics):
            name = link_of_ledger(topic)
            if name is None or name in self._opposite or name == self._link.name:
                continue
            if self._source_of.get(name, (self._link.target, self._link.source)) != (
                self._link.target,
                self._link.source,
            ):
                continue
            self._opposite[name] = LinkMap(name, self._source, self._cache)

    async def _index(self) -> None:
        found: dict[str, list[tuple[LinkMap, str]]] = {}
        for opposite in self._opposite.values():
            try:
                topics = opposite.topics
            except LedgerFormatError as error:
                self._say(f"can't read the ledger of link {opposite.link}", error)
                continue
            unseen = [theirs for theirs in topics if theirs not in self._target.topics]
            if unseen:
                self._target.watch(unseen)
                await self._target.refresh()
            for theirs, ours in topics.items():
                found.setdefault(ours, []).append((opposite, theirs))
        self._came_from = found

    def copied(self, topic: str) -> bool:
        """Whether the link copies this topic of the source, or an opposite one has copied it from the target."""
        return topic in self._came_from or self._copies(topic)

    def _copies(self, topic: str) -> bool:
        found = self._selected.get(topic)
        if found is None:
            found = self._selected[topic] = skip_reason(self._link, topic) is None
        return found

    def translate(self, topic: str, partition: int, offset: int) -> dict[Key, Translation] | None:
        """Where this position is: by partition of the target. Empty: the topic has nothing to do with this link.
        None: a map has to be loaded first (`load`)."""
        answers: list[tuple[Key, Located | str, int]] = []
        whose: list[tuple[Key, LinkMap, Known, bool]] = []
        for link_map, theirs, reverse in self._maps(topic):
            try:
                known = link_map.known((theirs, partition))
                if known is None or (reverse and known.entry.target_topic != topic):
                    continue
                if reverse and self._is_anothers(link_map, known):
                    continue
                at = (theirs if reverse else known.entry.target_topic), partition
                trouble = self._trouble(known, reverse=reverse)
                if trouble is not None:
                    if trouble:
                        answers.append((at, trouble, known.basis))
                    continue
                located = link_map.locate(known, offset, reverse=reverse)
            except LedgerFormatError as error:
                answers.append(((theirs, partition), str(error), 0))
                continue
            if located is None:
                return None
            answers.append((at, located, known.basis))
            whose.append((at, link_map, known, reverse))
        found: dict[Key, Translation] = {}
        for at, located, basis in answers:
            found[at] = _smaller(found.get(at), located, basis)
        for at, translation in found.items():
            if isinstance(translation, Translated) and translation.of_two:
                found[at] = self._beyond_read(translation, [each for each in whose if each[0] == at], answers)
        return found

    def _beyond_read(
        self,
        translation: Translated,
        whose: list[tuple[Key, LinkMap, Known, bool]],
        answers: list[tuple[Key, Located | str, int]],
    ) -> Translated:
        """The smaller of two, moved on over what is known to be read by the greater one."""
        offsets = [located.offset for at, located, _ in answers if at == whose[0][0] and isinstance(located, Located)]
        if len(whose) != 2 or len(offsets) != 2 or whose[0][3] or not whose[1][3]:
            return translation
        (_, own, known, _), (_, opposite, theirs, _) = whose
        start = translation.offset
        copies = Side(own.around(known, start, of_target=True), known.entry.target_next)
        natives = Side(opposite.around(theirs, start, of_target=False), theirs.entry.source_next)
        offset = first_unread(offsets[0], offsets[1], copies, natives)
        return translation if offset == start else replace(translation, offset=offset, error_bound=0)

    def place(self, topic: str, partition: int) -> tuple[Key, int] | None:
        """The only partition of the target where this one's positions are, and the basis of their final translations;
        None if there is none, or more than one, or not for certain."""
        found: Key | None = None
        basis = 0
        for link_map, theirs, reverse in self._maps(topic):
            try:
                known = link_map.known((theirs, partition))
            except LedgerFormatError:
                return None
            if known is None or (reverse and self._is_anothers(link_map, known)):
                continue
            trouble = self._trouble(known, reverse=reverse)
            if trouble == "":
                continue
            at = (theirs if reverse else known.entry.target_topic), partition
            if trouble or found not in (None, at):
                return None
            found, basis = at, _both(basis, known.basis)
        return None if found is None else (found, basis)

    async def load(self) -> bool:
        """Load what `translate` had to do without, some of it; whether there was anything."""
        loaded = await self._own.load()
        for opposite in self._opposite.values():
            loaded = await opposite.load() or loaded
        return loaded

    def _maps(self, topic: str) -> list[tuple[LinkMap, str, bool]]:
        own = [(self._own, topic, False)] if self._copies(topic) else []
        return own + [(link_map, theirs, True) for link_map, theirs in self._came_from.get(topic, ())]

    def _is_anothers(self, link_map: LinkMap, known: Known) -> bool:
        """Whether that link's direction is turned, and its way back is another link than this."""
        return link_map.link in self._led_back and known.entry.state in RELEASED

    def _trouble(self, known: Known, *, reverse: bool) -> str | None:
        """Why the entry doesn't say anything about these topics; empty if it is about others altogether."""
        entry = known.entry
        there, here = (self._target, self._source) if reverse else (self._source, self._target)
        source_id, target_id = there.topic_id_of(entry.topic), here.topic_id_of(entry.target_topic)
        if reverse and (source_id != entry.source_topic_id or source_id in (None, NO_TOPIC_ID)):
            return ""  # it was copied from another cluster, or nobody can tell
        identity = identify(entry, source_id, target_id)
        if identity is Identity.SAME:
            return None
        reason = identity.reason
        if reason is None:
            return f"topic {entry.topic} is about to be copied anew"
        return explain(entry, reason, source_id, target_id, source=there.alias, target=here.alias)

    def _say(self, what: str, error: ReplicatorError) -> None:
        if str(error) not in self._said:
            self._said.add(str(error))
            log.warning(what, link=self._link.name, error=str(error))


def _smaller(before: Translation | None, located: Located | str, basis: int) -> Translation:
    if isinstance(located, str):
        return Unknown(located)
    offset, bound, where = located
    now = Translated(offset, bound, where, where in _ALL_COPIED and not bound, _both(0, basis))
    if before is None:
        return now
    if isinstance(before, Unknown):
        return before
    less = min((before, now), key=lambda each: each.offset)
    where = BEYOND if BEYOND in (before.where, now.where) else less.where
    final = before.final and now.final
    return Translated(less.offset, less.error_bound, where, final, _both(before.basis, basis), of_two=True)


def _both(first: int, second: int) -> int:
    return (first * 31 + second) & 0xFFFFFFFF
