"""Amazon Resource Names of principals, as far as policies need them.

Source: AWS IAM user guide, "IAM ARNs" and "AWS JSON policy elements: Principal".
"""

from __future__ import annotations

import re
from functools import lru_cache

_PRINCIPAL = re.compile(r"arn:(aws|aws-cn|aws-us-gov):(iam|sts)::(\d{12}):(.+)")


@lru_cache(maxsize=4096)  # asked with every request
def account_of(arn: str) -> str | None:
    """The account of a principal's ARN; None for what isn't one, such as a service principal."""
    match = _PRINCIPAL.fullmatch(arn)
    return match[3] if match else None


def is_root(arn: str) -> bool:
    """Whether it is an account itself."""
    match = _PRINCIPAL.fullmatch(arn)
    return bool(match and match[2] == "iam" and match[4] == "root")


def role_of(arn: str) -> str | None:
    """The role that a session `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION` is of, without its path."""
    match = _PRINCIPAL.fullmatch(arn)
    if match is None or match[2] != "sts" or not match[4].startswith("assumed-role/"):
        return None
    return f"arn:{match[1]}:iam::{match[3]}:role/{match[4].split('/')[1]}"


def role_name(arn: str) -> str:
    """The name of a role's ARN: what follows the path."""
    return arn.rpartition("/")[2]


def without_path(role: str) -> str:
    """A role's ARN as sessions show it: `role/service/Name` is `role/Name`."""
    head, separator, rest = role.partition(":role/")
    return f"{head}{separator}{rest.rpartition('/')[2]}"
