"""What a member of a consumer group says in a heartbeat, what it is told, and what is refused whoever says it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups.consumer_member import JOINING, LEAVING, LEAVING_FOR_A_WHILE, Assignment, ConsumerMember

FIRST_WITH_OWN_MEMBER_IDS = 1


@dataclass(frozen=True, slots=True)
class ConsumerHeartbeat:
    """A ConsumerGroupHeartbeat request, in no particular version. None means: as before."""

    group_id: str
    member_id: str
    member_epoch: int
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = -1
    topics: frozenset[str] | None = None
    regex: str | None = None
    assignor: str | None = None
    owned: Assignment | None = None
    client_id: str = ""
    client_host: str = ""
    sees: Callable[[str], bool] = lambda _: True
    """Whether the member may know of a topic, which decides what its pattern can stand for."""

    @property
    def is_full(self) -> bool:
        """Whether the member says everything about itself and wants to know everything."""
        subscribed = self.topics is not None or self.regex is not None
        return self.member_epoch == JOINING or (
            self.rebalance_timeout_ms != -1 and subscribed and self.owned is not None
        )


@dataclass(frozen=True, slots=True)
class HeartbeatResult:
    """The answer to a heartbeat; `assignment` only where the member has to know it."""

    member_id: str
    member_epoch: int
    heartbeat_interval_ms: int = 0
    assignment: Assignment | None = None


def check_request(request: ConsumerHeartbeat, api_version: int, assignors: Sequence[str]) -> None:
    """Raise INVALID_REQUEST or UNSUPPORTED_ASSIGNOR for what no group could take."""
    if api_version >= FIRST_WITH_OWN_MEMBER_IDS or request.member_epoch > 0 or request.member_epoch == LEAVING:
        _refuse_empty(request.member_id, "MemberId")
    _refuse_empty(request.group_id, "GroupId")
    _refuse_empty(request.instance_id, "InstanceId")
    _refuse_empty(request.rack_id, "RackId")
    if request.member_epoch == JOINING:
        if request.rebalance_timeout_ms == -1:
            raise _invalid("RebalanceTimeoutMs must be provided in first request.")
        if request.owned is None or request.owned:
            raise _invalid("TopicPartitions must be empty when (re-)joining.")
        if request.topics is None and request.regex is None:
            raise _invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
    elif request.member_epoch == LEAVING_FOR_A_WHILE:
        if request.instance_id is None:
            raise _invalid("InstanceId can't be null.")
    elif request.member_epoch < LEAVING_FOR_A_WHILE:
        raise _invalid("MemberEpoch is invalid.")
    if request.assignor is not None and request.assignor not in assignors:
        raise KafkaError(
            ErrorCode.unsupported_assignor,
            f"ServerAssignor {request.assignor} is not supported. Supported assignors: {', '.join(assignors)}.",
        )


def check_epoch(member: ConsumerMember, request: ConsumerHeartbeat) -> None:
    """Raise FENCED_MEMBER_EPOCH unless the member is up to date, or has missed just the last answer."""
    epoch = request.member_epoch
    if epoch == member.epoch:
        return
    missed_an_answer = (
        epoch < member.epoch
        and epoch == member.previous_epoch
        and request.owned is not None
        and request.owned <= member.assigned
    )
    if not missed_an_answer:
        relation = "greater" if epoch > member.epoch else "smaller"
        raise KafkaError(
            ErrorCode.fenced_member_epoch,
            f"The consumer group member has a {relation} member epoch ({epoch}) than the one known by the group "
            f"coordinator ({member.epoch}). The member must abandon all its partitions and rejoin.",
        )


def _refuse_empty(value: str | None, name: str) -> None:
    if value is not None and not value.strip():
        raise _invalid(f"{name} can't be empty.")


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.invalid_request, message)
