"""Settings of the design that this version doesn't act upon: refused by name, so that nothing is silently ignored."""

from __future__ import annotations

from replicator.config.tree import KeyPath

_LINK = ("links", "*")
_SECURITY = ("clusters", "*", "security")

_KEYS: dict[KeyPath, str] = {
    (*_LINK, "sync", "new_groups"): "leaving new groups out (exclude them by name instead)",
}

_VALUES: dict[KeyPath, dict[str, str]] = {
    (*_LINK, "sync", "new_topics"): {"false": "this version always copies new topics; exclude them by name instead"},
    (*_SECURITY, "mechanism"): {
        "GSSAPI": "Kerberos isn't supported; use SCRAM-SHA-512, OAUTHBEARER or mutual TLS",
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
