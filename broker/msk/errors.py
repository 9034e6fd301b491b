"""What the control plane answers when it can't do as asked. The types and codes are the service model's.

    ServiceError                          type and status are the exception's in the service model
    ├── BadRequest, Unauthorized, Forbidden, NotFound, Conflict, TooManyRequests, InternalServerError, ...
    ├── TopicExists, UnknownTopicOrPartition, ClusterConnectivity, KafkaTimeout, KafkaRequest, ...     topics API
    └── FrontDoorError                    said before an operation is reached, as by all AWS services: signature, access

`message` is for people and programs alike (Terraform looks into it), so the service's own words are used where known.
"""

from __future__ import annotations


class ServiceError(Exception):
    """An answer with an error type. `invalid_parameter` is the path of the input's member that is at fault."""

    type = "InternalServerErrorException"
    status = 500

    def __init__(self, message: str, invalid_parameter: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.invalid_parameter = invalid_parameter


class BadRequest(ServiceError):
    type, status = "BadRequestException", 400


class Unauthorized(ServiceError):
    type, status = "UnauthorizedException", 401


class Forbidden(ServiceError):
    type, status = "ForbiddenException", 403


class NotFound(ServiceError):
    type, status = "NotFoundException", 404


class Conflict(ServiceError):
    type, status = "ConflictException", 409


class TooManyRequests(ServiceError):
    type, status = "TooManyRequestsException", 429


class InternalServerError(ServiceError):
    type, status = "InternalServerErrorException", 500


class ServiceUnavailable(ServiceError):
    type, status = "ServiceUnavailableException", 503


class TopicExists(ServiceError):
    type, status = "TopicExistsException", 409


class UnknownTopicOrPartition(ServiceError):
    type, status = "UnknownTopicOrPartitionException", 404


class ClusterConnectivity(ServiceError):
    type, status = "ClusterConnectivityException", 409


class KafkaTimeout(ServiceError):
    type, status = "KafkaTimeoutException", 409


class ControllerMoved(ServiceError):
    type, status = "ControllerMovedException", 409


class NotController(ServiceError):
    type, status = "NotControllerException", 409


class ReassignmentInProgress(ServiceError):
    type, status = "ReassignmentInProgressException", 409


class GroupSubscribedToTopic(ServiceError):
    type, status = "GroupSubscribedToTopicException", 409


class KafkaRequest(ServiceError):
    type, status = "KafkaRequestException", 400


class FrontDoorError(ServiceError):
    """What AWS's front door says before an operation is reached: who is asking, whether they may, what they want."""

    def __init__(self, type: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.type = type
        self.status = status


def access_denied(principal: str, action: str, resource: str, *, explicit: bool) -> FrontDoorError:
    """The refusal of an action by IAM, in IAM's words. `explicit`: a policy denies it, rather than none allows it."""
    why = (
        "with an explicit deny in an identity-based policy"
        if explicit
        else (f"because no identity-based policy allows the {action} action")
    )
    return FrontDoorError(
        "AccessDeniedException",
        f"User: {principal} is not authorized to perform: {action} on resource: {resource} {why}",
    )
