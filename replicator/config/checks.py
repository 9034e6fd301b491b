"""What the models can't see: how settings fit each other, Kafka's rules for names, files that have to exist."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from pydantic import SecretStr

from replicator.config.checks_log_in import log_in_problems, log_in_warnings, readable
from replicator.config.explain import nearest
from replicator.config.later import value_not_available
from replicator.config.models import LinkConfig, ServiceConfig, Settings
from replicator.config.tree import KeyPath, Problem, Tree

MAX_TOPIC_LENGTH = 249
_LEGAL = re.compile(r"[a-zA-Z0-9._-]+")
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%a-z]+\]|[^\s:/,\[\]]+):(?P<port>\d{1,5})")
_LONGEST_INTERNAL = "__replicator_{}_control"


def find_problems(settings: Settings, tree: Tree) -> list[Problem]:
    """Everything that forbids to run with these settings, in the file's order."""
    problems = [
        *_clusters(settings),
        *_links(settings),
        *_patterns(settings),
        *_directions(settings),
        *_service(settings),
    ]
    return sorted(problems, key=lambda problem: tree.lines.get(tree.known(problem.path), 0))


def find_warnings(settings: Settings) -> list[Problem]:
    """What can be run with, but may surprise."""
    warnings: list[Problem] = []
    seen: dict[tuple[str, str, bool], str] = {}
    for index, link in enumerate(settings.links):
        if link.reverse_of is not None:
            continue
        key = (link.source, link.target, link.topics.naming == "identical")
        if key in seen:
            both = f"link {seen[key]} copies from {link.source} to {link.target} as well"
            text = f"{both}: a topic that both select is copied twice"
            warnings.append(Problem(("links", index, "topics"), text))
        seen.setdefault(key, link.name)
    warnings += _twice(settings)
    for alias, cluster in settings.clusters.items():
        warnings += log_in_warnings(cluster, ("clusters", alias, "security"))
    if settings.service.cert_file is None and not _is_loopback(settings.service.http):
        warnings.append(Problem(("service", "http"), "the token travels in clear; set service.cert_file and key_file"))
    return warnings


def _clusters(settings: Settings) -> Iterator[Problem]:
    for alias, cluster in settings.clusters.items():
        path: KeyPath = ("clusters", alias)
        if not _LEGAL.fullmatch(alias) or len(alias) > 100:
            yield Problem(path, "a cluster's name becomes part of topic names: 1 to 100 letters, digits, . _ or -")
        for address in cluster.bootstrap_servers.split(","):
            match = _ADDRESS.fullmatch(address.strip())
            if match is None or not 0 < int(match["port"]) < 65536:
                text = f"{address.strip()!r} isn't an address; write host:port, several separated by commas"
                yield Problem((*path, "bootstrap_servers"), text)
        yield from _security(settings, alias)


def _security(settings: Settings, alias: str) -> Iterator[Problem]:
    security = settings.clusters[alias].security
    path: KeyPath = ("clusters", alias, "security")
    yield from log_in_problems(settings.clusters[alias], path)
    if not security.protocol.endswith("SSL"):
        for key in ("ca_file", "cert_file", "key_file", "key_password"):
            if getattr(security, key) is not None:
                safe = "SASL_SSL" if security.protocol.startswith("SASL") else "SSL"
                yield Problem((*path, key), f"isn't used with protocol {security.protocol}; write `protocol: {safe}`")
        return
    for key in ("ca_file", "cert_file", "key_file"):
        yield from readable((*path, key), getattr(security, key))
    if security.key_file is not None and security.cert_file is None:
        yield Problem((*path, "key_file"), "needs cert_file as well")


def _links(settings: Settings) -> Iterator[Problem]:
    if not settings.links:
        yield Problem(("links",), "is empty; give at least one link: {name: …, source: …, target: …}")
    names: dict[str, int] = {}
    for index, link in enumerate(settings.links):
        path: KeyPath = ("links", index)
        yield from _link_name(link, path, names)
        names.setdefault(link.name.replace(".", "_"), index)
        for side in ("source", "target"):
            alias = getattr(link, side)
            if alias not in settings.clusters:
                known = ", ".join(settings.clusters) or "none"
                text = f"unknown cluster {alias!r}{nearest(alias, settings.clusters)} (under `clusters:` are {known})"
                yield Problem((*path, side), text)
        if link.source == link.target:
            text = f"is the source as well ({link.target!r}); a link copies from one cluster to another"
            yield Problem((*path, "target"), text)
        elif common := _addresses(settings, link.source) & _addresses(settings, link.target):
            text = f"clusters {link.source} and {link.target} are the same one: both have address {min(common)}"
            yield Problem((*path, "target"), text)
        later = value_not_available((*path, "delivery"), link.delivery)
        if later is not None:
            yield Problem((*path, "delivery"), later)
        if link.names_tell:
            yield from _prefix(link, path)


def _link_name(link: LinkConfig, path: KeyPath, names: dict[str, int]) -> Iterator[Problem]:
    longest = MAX_TOPIC_LENGTH - len(_LONGEST_INTERNAL.format(""))
    if not _LEGAL.fullmatch(link.name) or len(link.name) > longest:
        text = f"{link.name[:100]!r} becomes part of topic names: 1 to {longest} letters, digits, . _ or -"
        yield Problem((*path, "name"), text)
    other = names.get(link.name.replace(".", "_"))
    if other is not None:
        text = f"{link.name!r} is the name of links[{other}] too (. and _ count as the same); every link needs its own"
        yield Problem((*path, "name"), text)


def _prefix(link: LinkConfig, path: KeyPath) -> Iterator[Problem]:
    if not _LEGAL.fullmatch(link.separator):
        yield Problem((*path, "separator"), "becomes part of topic names: letters, digits, . _ or -")
    elif link.separator in link.source:
        text = (
            f"cluster name {link.source!r} contains the separator {link.separator!r}, so a copy's origin can't be told"
        )
        yield Problem((*path, "source"), f"{text}; rename the cluster or choose another separator")
    elif len(link.source) + len(link.separator) >= MAX_TOPIC_LENGTH:
        yield Problem((*path, "separator"), f"leaves no room for a topic's name within {MAX_TOPIC_LENGTH} characters")


def _addresses(settings: Settings, alias: str) -> set[str]:
    cluster = settings.clusters.get(alias)
    return {item.strip().lower() for item in cluster.bootstrap_servers.split(",")} if cluster else set()


def _patterns(settings: Settings) -> Iterator[Problem]:
    for index, link in enumerate(settings.links):
        for holder, filters in (("topics", link.topics), ("groups", link.groups)):
            for key in ("include", "exclude"):
                for position, pattern in enumerate(getattr(filters, key)):
                    try:
                        re.compile(pattern)
                    except (re.error, RecursionError, OverflowError) as error:
                        text = f"{pattern!r} isn't a regular expression: {error}{_glob_hint(pattern)}"
                        yield Problem(("links", index, holder, key, position), text)
        for position, pattern in enumerate(link.sync.config_exclude):
            try:
                re.compile(pattern)
            except (re.error, RecursionError, OverflowError) as error:
                text = f"{pattern!r} isn't a regular expression: {error}{_glob_hint(pattern)}"
                yield Problem(("links", index, "sync", "config_exclude", position), text)
        if not link.topics.include:
            yield Problem(
                ("links", index, "topics", "include"), "is empty: nothing would be copied; write ['.*'] for all"
            )


def _glob_hint(pattern: str) -> str:
    if pattern.startswith("*"):
        return f"; did you mean `.{pattern}`? Patterns are regular expressions, not file-name patterns"
    return ""


def _directions(settings: Settings) -> Iterator[Problem]:
    """Links that keep names, and lead back to where they began: each must be able to tell copies from originals."""
    for index, link in enumerate(settings.links):
        if link.source == link.target or not (settings.returns(link) or settings.counterpart(link)):
            continue
        if link.delivery == "at_least_once":
            text = (
                f"at_least_once can't be used with identical naming in both directions between {link.source} and "
                f"{link.target}, nor with a way back: such a link's copies can't be told from originals, and would go "
                "round for ever; use exactly_once, or `naming: prefix`"
            )
            yield Problem(("links", index, "delivery"), text)


def _twice(settings: Settings) -> Iterator[Problem]:
    """Clusters that get the same records on two ways, under the same names."""
    keeping = [link for link in settings.links if link.topics.naming == "identical" and link.reverse_of is None]

    def brings(link: LinkConfig, passed: frozenset[str]) -> set[str]:
        """The clusters whose clients' records it carries to its target."""
        found = {link.source}
        if link.origins == "all":
            for before in keeping:
                if before.target == link.source and before.source not in passed:
                    found |= brings(before, passed | {before.source})
        return found - {link.target}

    for index, link in enumerate(settings.links):
        if link not in keeping:
            continue
        ours = brings(link, frozenset({link.source, link.target}))
        for other in keeping:
            if other.name == link.name:
                break
            if other.target != link.target or other.source == link.source:
                continue
            if common := ours & brings(other, frozenset({other.source, other.target})):
                text = (
                    f"links {other.name} and {link.name} both bring records of cluster {min(common)} to {link.target} "
                    "under the same names: a topic that both select gets them twice; use `origins: native` in all "
                    "links where each cluster has one to each other"
                )
                yield Problem(("links", index, "topics"), text)
                break


def _service(settings: Settings) -> Iterator[Problem]:
    service = settings.service
    path: KeyPath = ("service", "http")
    if not service.http.startswith("unix:"):
        match = _ADDRESS.fullmatch(service.http)
        if match is None or int(match["port"]) > 65535:
            yield Problem(path, f"{service.http!r} isn't an address; write host:port, or unix:/path")
        elif not _is_loopback(service.http) and not (service.tokens or _secret(service.token)):
            text = f"{service.http} can be reached from other machines: set service.token, or service.tokens"
            yield Problem(path, f"{text}, or use 127.0.0.1:{match['port']}")
    if (service.cert_file is None) != (service.key_file is None):
        missing = "cert_file" if service.cert_file is None else "key_file"
        yield Problem(("service", missing), "is missing: HTTPS needs cert_file and key_file")
    for key in ("cert_file", "key_file"):
        yield from readable(("service", key), getattr(service, key))
    yield from _tokens(service)


def _tokens(service: ServiceConfig) -> Iterator[Problem]:
    names, secrets = {"token", "local"}, {_secret(service.token)}
    for index, each in enumerate(service.tokens):
        path: KeyPath = ("service", "tokens", index)
        if each.name in names:
            yield Problem((*path, "name"), f"{each.name!r} is taken; every token needs a name of its own")
        if not _secret(each.token):
            yield Problem((*path, "token"), "is empty")
        elif _secret(each.token) in secrets:
            yield Problem((*path, "token"), "is another one's as well; nobody could tell who it is")
        names.add(each.name)
        secrets.add(_secret(each.token))


def _secret(value: SecretStr | None) -> str:
    return value.get_secret_value() if value is not None else ""


def _is_loopback(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
