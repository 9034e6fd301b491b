"""Settings of the design that this version doesn't act upon: refused by name, so that nothing is silently ignored."""

from __future__ import annotations

from replicator.config.tree import KeyPath

_LINK = ("links", "*")
_SECURITY = ("clusters", "*", "security")

_KEYS: dict[KeyPath, str] = {
    (*_LINK, "sync", "new_groups"): "leaving new groups out (exclude them by name instead)",
    (*_SECURITY, "region"): "AWS_MSK_IAM",
    (*_SECURITY, "role_arn"): "AWS_MSK_IAM",
    (*_SECURITY, "profile"): "AWS_MSK_IAM",
    (*_SECURITY, "token_endpoint"): "OAUTHBEARER",
}

_VALUES: dict[KeyPath, dict[str, str]] = {
    (*_LINK, "sync", "new_topics"): {"false": "this version always copies new topics; exclude them by name instead"},
    (*_SECURITY, "mechanism"): {
        "AWS_MSK_IAM": "this version can't sign for AWS IAM yet; use SCRAM-SHA-512 on MSK's port 9096",
        "OAUTHBEARER": "this version can't fetch OAuth tokens yet; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        "GSSAPI": "Kerberos isn't supported; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
    },
}


def key_not_available(path: KeyPath) -> str | None:
    """Why a key of the design can't be used yet; None for a key that nobody knows."""
    what = _KEYS.get(_pattern(path))
    return None if what is None else f"isn't available in this version: {what}; remove it"


def value_not_available(path: KeyPath, value: object) -> str | None:
    """Why a value of the design can't be used yet; None for one that nobody knows."""
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    why = _VALUES.get(_pattern(path), {}).get(shown)
    return None if why is None else f"{shown} isn't available: {why}"


def _pattern(path: KeyPath) -> KeyPath:
    return tuple("*" if index == 1 else step for index, step in enumerate(path))
