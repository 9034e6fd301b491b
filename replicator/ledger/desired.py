"""What operators want of a link's topics: in its control topic, obeyed by the owners of the lanes.

One record for a topic, and one for the whole link, which counts for all topics and takes back what was wanted of single
ones before: whoever says "all" means all. The order of the log decides, so every reader comes to the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from replicator.config.models import LinkConfig
from replicator.ledger.log import KeyValue
from replicator.states import State

_KEY = b"desired/"
_VERSION = 1
_WHY_MAX = 500

WANTED = frozenset({State.COPYING, State.PAUSED, State.PROMOTED, State.FAILED_OVER})
HOLDING = WANTED - {State.COPYING} | {State.ASLEEP}
RELEASED = frozenset(
    {State.PROMOTED, State.FAILED_OVER, State.ASLEEP}
)  # the copy is its cluster's own: the link changes nothing


@dataclass(frozen=True, slots=True)
class Desired:
    """A state that somebody wants; `why` is what they said, `verb` which command it was.

    `apart`: while it copies, settings, ACLs and positions of the copy are left alone: it is used on its own already.
    """

    state: State
    by: str
    at_ms: int
    verb: str = ""
    why: str = ""
    apart: bool = False

    @property
    def released(self) -> bool:
        """Whether everything but the records of the copy is its cluster's own."""
        return self.apart or self.state in RELEASED

    @property
    def text(self) -> str:
        """For people: who, and why."""
        if self.state is State.ASLEEP:
            return self.why
        return f"{self.verb or self.state.value} by {self.by}" + (f": {self.why}" if self.why else "") + "."


NOTHING_SAID = Desired(State.COPYING, "", -1)


@dataclass(slots=True)
class DesiredStates:
    """What of this kind stands in a control topic; `take` applies one record after the other."""

    unsaid: Desired = NOTHING_SAID  # before anybody has said anything
    topics: dict[str, Desired] = field(default_factory=dict)
    of_all: Desired = field(init=False)

    def __post_init__(self) -> None:
        self.of_all = self.unsaid

    @classmethod
    def of_link(cls, link: LinkConfig) -> DesiredStates:
        """Of this link, as long as its control topic says nothing: the way back of another one sleeps."""
        if link.reverse_of is None:
            return cls()
        text = f"The way back of link {link.reverse_of}: `replicator reverse --link {link.reverse_of}` wakes it."
        return cls(Desired(State.ASLEEP, "", -1, why=text))

    def of(self, topic: str) -> Desired:
        """What is wanted of a source topic."""
        return self.topics.get(topic, self.of_all)

    def take(self, key: bytes | None, value: bytes | None) -> bool:
        """Apply a record; whether it is one of these. One that can't be read changes nothing."""
        if key is None or not key.startswith(_KEY):
            return False
        try:
            topic, found = key.removeprefix(_KEY).decode(), _decode(value)
        except (ValueError, KeyError, TypeError):
            return False
        if topic:
            self.topics.pop(topic, None)
            if found is not None:
                self.topics[topic] = found
        else:
            self.of_all = found or self.unsaid
            self.topics.clear()
        return True


def nothing_released(topic: str) -> bool:
    """Whether the copy of this source topic is its cluster's own: none is, where nobody can have said so."""
    return False


def encode_desired(topic: str, wanted: Desired | None) -> KeyValue:
    """The record for this source topic, for all if it is ""; None takes back what was said of it alone."""
    key = _KEY + topic.encode()
    if wanted is None:
        return key, None
    held = {
        "version": _VERSION,
        "state": wanted.state.value,
        "by": wanted.by,
        "at_ms": wanted.at_ms,
        "verb": wanted.verb,
        "why": wanted.why[:_WHY_MAX],
        **({"apart": True} if wanted.apart else {}),
    }
    return key, json.dumps(held, separators=(",", ":")).encode()


def encode_for(topics: Iterable[str] | None, wanted: Desired, before: DesiredStates) -> list[KeyValue]:
    """The records that make this wanted of these topics, or of all, which also forgets what was said of single ones."""
    if topics is not None:
        return [encode_desired(topic, wanted) for topic in topics]
    return [encode_desired("", wanted), *(encode_desired(topic, None) for topic in before.topics)]


def _decode(value: bytes | None) -> Desired | None:
    if value is None:
        return None
    held = json.loads(value)
    state = State(held["state"])
    if held["version"] != _VERSION or state not in WANTED:
        raise ValueError(f"version {held['version']}, state {state}")
    apart = bool(held.get("apart"))
    return Desired(state, str(held["by"]), int(held["at_ms"]), str(held["verb"]), str(held["why"]), apart)
