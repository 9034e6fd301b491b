"""Why somebody isn't who they say, in the service's own words.

IamError            has the AWS error code; the message never holds a secret
└── SignatureError  of a request or token
PolicyError         a policy document isn't valid; the message names the statement
StoreError          the credentials file can't be used
"""

from __future__ import annotations


class IamError(Exception):
    """An error with the code that AWS gives it, so that SDKs know whether to try again."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SignatureError(IamError):
    """Nobody that is known here has signed this, or not now."""


class PolicyError(ValueError):
    """A policy document that AWS would call malformed."""


class StoreError(ValueError):
    """A credentials file that can't be read, or doesn't say what it should."""
