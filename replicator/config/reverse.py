"""Links that are the way back of another one: what the file doesn't say of them is as it is there, the other way round.

Such a link sleeps until `replicator reverse` wakes it. Which topics it takes, and what they are called, isn't its own:
it leads from the copies of the other link back to where they came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

_NOT_ITS_OWN = ("source", "target", "topics", "separator", "delete_topics", "delete_groups")
_NOT_TAKEN = ("drill", "delete_topics", "delete_groups", "use_defaults_from")


def with_reverses(links: Any) -> Any:
    """The sections of `links:` as the file has them, those with `reverse_of` completed. ValueError says what is wrong
    with one; what isn't a list of mappings is left for others to refuse."""
    if not isinstance(links, list | tuple):
        return links
    named = {link["name"]: link for link in links if isinstance(link, dict) and isinstance(link.get("name"), str)}
    return [
        _completed(link, named) if isinstance(link, dict) and isinstance(link.get("reverse_of"), str) else link
        for link in links
    ]


def _completed(link: Mapping[str, Any], named: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    name, of = link.get("name"), str(link["reverse_of"])
    other = named.get(of)
    if other is None:
        near = get_close_matches(of, list(named), n=1, cutoff=0.6)
        raise ValueError(
            f"link {name}: reverse_of: there is no link {of}" + (f"; did you mean `{near[0]}`?" if near else "")
        )
    if other.get("reverse_of") is not None:
        raise ValueError(f"link {name}: reverse_of: {of} is itself the way back of {other['reverse_of']}")
    same = [each for each in named.values() if each.get("reverse_of") == of]
    if len(same) > 1:
        raise ValueError(f"links {same[0]['name']} and {same[1]['name']} are both the way back of {of}; one is enough")
    if wrong := [key for key in _NOT_ITS_OWN if key in link]:
        raise ValueError(
            f"link {name}: {wrong[0]} can't be set: it is the way back of {of}, and follows from that link"
        )
    taken = {key: value for key, value in other.items() if key not in _NOT_TAKEN}
    topics = taken.get("topics", {})
    return {
        **taken,
        "source": other.get("target"),
        "target": other.get("source"),
        **({"topics": {**topics, "start": "earliest"}} if isinstance(topics, dict) else {}),
        **link,
        "sync": _sync(taken.get("sync"), link.get("sync")),
    }


def _sync(theirs: Any, own: Any) -> Any:
    if not isinstance(own, dict | None) or not isinstance(theirs, dict | None):
        return theirs if own is None else own
    return {**(theirs or {}), "heartbeats": False, "checkpoints": False, **(own or {})}


def section_for(of: Mapping[str, Any] | str, name: str) -> str:
    """The lines to add under `links:` for a way back of this link."""
    return f"  - name: {name}\n    reverse_of: {of}"


__all__: Sequence[str] = ("section_for", "with_reverses")
