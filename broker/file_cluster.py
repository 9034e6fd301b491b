"""A cluster made from a cluster file, and changed by it while it runs.

Users, certificates, credentials of IAM, additional nodes and the broker's properties may change; anything else wants
another process, and is refused by name.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from broker.cluster import Cluster
from broker.cluster_file import ClusterFile, ClusterFileError, ListenerEntry, load
from broker.config_defs import BROKER_CONFIGS, InvalidConfig
from broker.iam.errors import PolicyError, StoreError
from broker.iam.policy import MAX_BYTES as MAX_POLICY_BYTES
from broker.iam.policy import PolicyDocument
from broker.iam.store import CredentialStore
from broker.node import Listener
from broker.security.credentials import Credentials, ScramKeys
from broker.security.iam_exchange import IamLogIns
from broker.security.policy_authorizer import PolicyAuthorizer
from broker.security.sasl import SaslServer
from broker.security.tls import server_context, take_over

log = logging.getLogger(__name__)

_FIXED = ("cluster_id", "data", "control", "listeners", "iam", "acl_when_no_iam")
_FIXED_PROPERTIES = frozenset({"super.users", "authorizer.class.name", "allow.everyone.if.no.acl.found"})


class FileCluster:
    """The cluster of a file; `reload` brings it in line with the file as it is now."""

    def __init__(self, path: Path) -> None:
        """ClusterFileError for what isn't valid; InvalidConfig, OSError, ssl.SSLError for what can't be used."""
        self.path = path
        self.file = load(path)
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.store = _store(self.file)
        self._policy = ClusterPolicy(self.file.iam.cluster_policy if self.file.iam is not None else None)
        listeners = self._listeners(self.file)
        self.cluster = Cluster(
            nodes={node.id: node.rack for node in self.file.nodes},
            listeners=listeners,
            config=self.file.config,
            data_dir=self.file.data,
            authorizer="acl" if self.file.acl_when_no_iam else "none",
        )
        authorizer = self._authorizer(self.file)
        if authorizer is not None:
            self.cluster.authorizer = authorizer
        self.cluster.sasl = self._sasl(self.file, authorizer)
        if self.file.cluster_id is not None:
            self.cluster.cluster_id = self.file.cluster_id

    def bootstrap(self) -> dict[str, str]:
        """By listener: the addresses of all nodes."""
        return {listener.name: self.cluster.bootstrap_of(listener.name) for listener in self.file.listeners}

    async def reload(self) -> None:
        """Read the file again. ClusterFileError for what isn't valid, or can't change; then nothing has changed."""
        wanted = load(self.path)
        now = self.file
        changed = [name for name in _FIXED if getattr(wanted, name) != getattr(now, name)]
        if "listeners" in changed and [_bare(x) for x in wanted.listeners] == [_bare(x) for x in now.listeners]:
            changed.remove("listeners")  # what new nodes are called is theirs
        kept = {node.id: node for node in wanted.nodes}
        changed += [f"node {node.id}" for node in now.nodes if kept.get(node.id) != node]
        properties = {key for key, _ in set(wanted.config.items()) ^ set(now.config.items())}
        changed += sorted(properties & _FIXED_PROPERTIES)
        if changed:
            raise ClusterFileError(
                f"{self.path}: can't change while the cluster runs: {', '.join(changed)}; restart it"
            )
        self._check_properties(wanted.config)
        self._reload_tls(wanted)
        if self.cluster.sasl is not None:
            self.cluster.sasl.credentials = _credentials(wanted)
        self._set_properties(wanted.config)
        known = {node.id for node in now.nodes}
        self.file = wanted
        for node in wanted.nodes:
            if node.id not in known:
                await self.cluster.add_node(node.id, node.rack, self._listeners(wanted))

    def _listeners(self, file: ClusterFile) -> list[Listener]:
        hosts = {node.id: node.host for node in file.nodes}
        return [
            Listener(
                port=entry.port,
                name=entry.name,
                ssl_context=self._context(file, entry) if entry.tls else None,
                sasl=entry.sasl,
                mechanisms=entry.mechanisms,
                hosts=hosts,
                advertised_hosts=entry.advertised_hosts,
            )
            for entry in file.listeners
        ]

    def _context(self, file: ClusterFile, entry: ListenerEntry) -> ssl.SSLContext:
        wanted = entry.client_certificates
        if wanted not in self._contexts:
            self._contexts[wanted] = _made_context(file, wanted)
        return self._contexts[wanted]

    def _reload_tls(self, file: ClusterFile) -> None:
        try:
            newer = {wanted: _made_context(file, wanted) for wanted in self._contexts}
        except (OSError, ssl.SSLError) as error:
            raise ClusterFileError(f"{self.path}: tls can't be used: {error}") from error
        for wanted, context in newer.items():
            take_over(self._contexts[wanted], context)

    def _authorizer(self, file: ClusterFile) -> PolicyAuthorizer | None:
        if self.store is None or file.iam is None:
            return None
        others = self.cluster.authorizer
        try:
            return PolicyAuthorizer(
                self.store,
                file.iam.cluster_arn,
                others,
                self.cluster.clock.monotonic,
                self._policy.now,
                lambda: self.file.tags,
            )
        except ValueError as error:
            raise ClusterFileError(f"{self.path}: iam.cluster_arn: {error}") from error

    def _sasl(self, file: ClusterFile, authorizer: PolicyAuthorizer | None) -> SaslServer | None:
        mechanisms = list(dict.fromkeys(name for entry in file.listeners for name in entry.mechanisms))
        if not mechanisms:
            return None
        iam = None
        if self.store is not None and file.iam is not None and authorizer is not None:
            iam = IamLogIns(self.store, file.iam.region, lambda: datetime.now(UTC), authorizer.may_connect)
        try:
            return SaslServer(mechanisms, _credentials(file), iam)
        except ValueError as error:
            raise ClusterFileError(f"{self.path}: {error}") from error

    def _check_properties(self, config: Mapping[str, str]) -> None:
        try:
            for name, value in config.items():
                known = BROKER_CONFIGS.get(name)
                if known is None:
                    raise InvalidConfig(f"Unknown broker config name: {name}")
                known.check(value)
        except InvalidConfig as error:
            raise ClusterFileError(f"{self.path}: {error}") from error

    def _set_properties(self, config: Mapping[str, str]) -> None:
        static = self.cluster.config.static
        for name in self.file.config.keys() - config.keys():
            static.pop(name, None)
        static.update(config)
        self.cluster.config.changed()


class ClusterPolicy:
    """The resource policy in a file, read again when that has changed; none while the file isn't there."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._text: bytes | None = None
        self._document: PolicyDocument | None = None
        self.refused = 0  # documents that weren't valid

    def now(self) -> PolicyDocument | None:
        """As of now. One that isn't valid changes nothing, and is named in the log."""
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as file:
                text: bytes | None = file.read(MAX_POLICY_BYTES + 1)
        except OSError:
            text = None
        if text == self._text:
            return self._document
        self._text = text
        try:
            self._document = None if text is None else PolicyDocument.parse(text, kind="resource")
        except PolicyError as error:
            self.refused += 1
            log.warning("going on with the cluster policy as it was: %s: %s", self._path, error)
        return self._document


def _store(file: ClusterFile) -> CredentialStore | None:
    if file.iam is None:
        return None
    try:
        return CredentialStore(file.iam.credentials)
    except StoreError as error:
        raise ClusterFileError(f"iam.credentials: {error}") from error


def _made_context(file: ClusterFile, wanted: str) -> ssl.SSLContext:
    assert file.tls is not None
    authority = file.tls.ca if wanted != "none" else None
    return server_context(file.tls.cert, file.tls.key, authority, optional=wanted == "requested")


def _credentials(file: ClusterFile) -> Credentials:
    passwords = {
        name: user.password.get_secret_value() for name, user in file.scram_users.items() if user.password is not None
    }
    keys: dict[tuple[str, str], ScramKeys] = {
        (mechanism, name): ScramKeys(entry.salt, entry.stored_key, entry.server_key, entry.iterations)
        for name, user in file.scram_users.items()
        for mechanism, entry in user.keys.items()
    }
    return Credentials(passwords, keys)


def _bare(entry: ListenerEntry) -> ListenerEntry:
    return entry.model_copy(update={"advertised_hosts": {}})
