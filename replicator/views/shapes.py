"""The shapes of the views' answers, for those who read the API's description."""

from __future__ import annotations

from typing_extensions import TypedDict

from replicator.ledger.status import HeldStatus, WorkerStatus


class TopicRow(TypedDict):
    """A source topic; `reason` and `detail` say why it isn't copied, or isn't selected."""

    topic: str
    selected: bool
    remote: str | None
    created: bool
    partitions: int | None
    remote_partitions: int | None
    reason: str | None
    detail: str


class Topics(TypedDict):
    """All topics of the source."""

    name: str
    source: str
    target: str
    topics: list[TopicRow]


class GroupPosition(TypedDict):
    """One position: on the source, on the target, and where it belongs there (`translated`)."""

    topic: str
    partition: int
    source_offset: int
    lag: int | None
    target_topic: str | None
    target_offset: int | None
    translated: int | None
    exact: bool
    error_bound: int | None
    where: str | None
    smaller_of_two: bool
    synced: bool
    why: str | None
    detail: str


class GroupRows(TypedDict):
    """A consumer group."""

    group: str
    positions: list[GroupPosition]


class HeldGroup(TypedDict):
    """A group without positions, and why."""

    group: str
    why: str
    detail: str


class Groups(TypedDict):
    """The link's groups; `synced`: whether positions are written at all."""

    name: str
    source: str
    target: str
    synced: bool
    groups: list[GroupRows]
    held: list[HeldGroup]


class ChangeRow(TypedDict):
    """Something that differs and will be changed on the target; None: isn't there."""

    kind: str
    resource: str
    what: str
    before: str | None
    after: str | None


class Differences(TypedDict):
    """What will be changed beside the records, and what can't be kept in step."""

    name: str
    source: str
    target: str
    changes: list[ChangeRow]
    held: list[HeldStatus]


class AuditRow(TypedDict):
    """`result` is ok, refused or failed."""

    link: str
    id: str
    by: str
    at_ms: int
    at: str
    verb: str
    what: str
    result: str
    detail: str
    took_ms: int


class Audits(TypedDict):
    """The newest first."""

    audit: list[AuditRow]


class Workers(TypedDict):
    """The members of the link's group."""

    name: str
    workers: list[WorkerStatus]


class ObstacleRow(TypedDict):
    """`blocks`: `promote` would refuse, or wait."""

    kind: str
    where: str
    what: str
    next_step: str
    blocks: bool


class Readiness(TypedDict):
    """Whether `promote` would go through now."""

    link: str
    ready: bool
    obstacles: list[ObstacleRow]


class FindingRow(TypedDict):
    """`level` is ok, warning or problem; `command` one that would put it right, `exit_code` what the program says."""

    level: str
    where: str
    what: str
    why: str
    next_step: str
    exit_code: int
    command: str


class Diagnosis(TypedDict):
    """What may trouble a link; `ok`: nothing has an exit code."""

    ok: bool
    findings: list[FindingRow]


class LossRow(TypedDict):
    """Of one partition; None where nobody knows."""

    topic: str
    partition: int
    copied_to: int
    source_end: int
    records: int | None
    seconds: float | None


class Outlook(TypedDict):
    """What a failover would lose now."""

    link: str
    source: str
    partitions: int
    due: int
    lost_records: int
    unknown_partitions: int
    losses: list[LossRow]
    source_seen: str | None
    source_error: str | None


class PlaceRow(TypedDict):
    """A position in a cluster."""

    cluster: str
    topic: str
    partition: int
    offset: int


Translation = TypedDict(
    "Translation",
    {"link": str, "from": PlaceRow, "to": PlaceRow, "exact": bool, "error_bound": int, "where": str},
)
