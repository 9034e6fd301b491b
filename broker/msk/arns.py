"""Amazon resource names of the service: made and taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from broker.msk.errors import BadRequest

MAX_LENGTH = 2048
_PATTERN = re.compile(r"arn:(aws|aws-cn|aws-us-gov):kafka:([a-z0-9-]+):(\d{12}):([a-z-]+)/(.+)")


@dataclass(frozen=True)
class Arn:
    """`arn:PARTITION:kafka:REGION:ACCOUNT:KIND/REST`; for clusters REST is NAME/UUID-N."""

    partition: str
    region: str
    account: str
    kind: str
    rest: str

    def __str__(self) -> str:
        return f"arn:{self.partition}:kafka:{self.region}:{self.account}:{self.kind}/{self.rest}"

    @property
    def name(self) -> str:
        """The resource's name."""
        return self.rest.split("/")[0]

    @property
    def id(self) -> str:
        """What stands after the name: UUID-N."""
        return self.rest.split("/")[1] if "/" in self.rest else ""

    def kin(self, kind: str, *more: str) -> Arn:
        """The ARN of something that belongs to this resource: same name and id, another kind."""
        return Arn(self.partition, self.region, self.account, kind, "/".join((self.rest, *more)))


def parse(text: str, *kinds: str, parameter: str) -> Arn:
    """Take an ARN apart. Raises BadRequest naming `parameter` if it isn't one of the service and of `kinds`."""
    match = _PATTERN.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None or (kinds and match[4] not in kinds):
        raise BadRequest("One or more of the parameters are not valid.", parameter)
    return Arn(*match.groups())


def partition_of(region: str) -> str:
    """The partition that a region belongs to."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def dns_suffix(region: str) -> str:
    """What host names of the region end in."""
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
