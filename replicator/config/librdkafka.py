"""A cluster's settings in librdkafka's words, for the admin client, the membership client and `verify`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from replicator.config.models import ClusterConfig, SecurityConfig
from replicator.config.secrets import Stamp, stamp_of
from replicator.config.tokens import token_source, with_region
from replicator.credentials.token import TokenSource
from replicator.errors import ReplicatorError

LOGGER_NAME = "replicator.librdkafka"  # `telemetry.logs` keeps it from repeating itself

ADMINISTRATOR: dict[str, Any] = {"enable.sparse.connections": False}
"""For an AdminClient, besides `client_properties`: keep a connection to every broker. An administrator that connects
when it needs to waits for a controller that is gone by trying to connect without a pause between attempts, as fast as
two cores can (*measured*, librdkafka 2.16: 400,000 times in half a minute)."""


class ClientProperties(dict[str, Any]):
    """Properties of a client, and where what is secret in them comes from."""

    def __init__(self, known: dict[str, Any], security: SecurityConfig) -> None:
        super().__init__(known)
        self.security = security


class LogIn:
    """Keeps a client's password, and knows its certificates, as their files are now: for clients that live long."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._security = properties.security if isinstance(properties, ClientProperties) else None
        self._given = properties.get("sasl.password")
        self._files = certificates(self._security)

    def renew(self, client: Any) -> None:
        """Let this client log in with the present password from its next connection on."""
        security, before = self._security, self._given
        if before is not None and security is not None and self.password() != before:
            self._given = self.password()
            client.set_sasl_credentials(security.username or "", self._given)

    def password(self) -> str | None:
        """The present one; None where there is none."""
        security = self._security
        return self._given if security is None or security.password is None else security.password.get_secret_value()

    def properties(self) -> dict[str, Any]:
        """For a new client: what may have changed since, which counts as given."""
        self._given, self._files = self.password(), certificates(self._security)
        return {} if self._given is None else {"sasl.password": self._given}

    @property
    def outdated(self) -> bool:
        """Whether the password or the certificates are others than the client has been given; certificates are read by
        a new client alone."""
        return self.certificates_changed or self.password() != self._given

    @property
    def certificates_changed(self) -> bool:
        """Whether they are others than the client has read."""
        return self._files != certificates(self._security)


def certificates(security: SecurityConfig | None) -> tuple[Stamp | None, ...]:
    """What tells whether the files of these settings are the same as before."""
    if security is None:
        return ()
    names = (security.ca_file, security.cert_file, security.key_file)
    return tuple(stamp_of(name) for name in names if name is not None)


def client_properties(cluster: ClusterConfig, *, client_id: str) -> dict[str, Any]:
    """The properties with which confluent-kafka connects to `cluster`: addresses, security, and a quiet logger.

    librdkafka would otherwise write to stderr by itself; here its lines go to the logger `replicator.librdkafka`.
    The dictionary holds secrets in clear: don't log it.
    """
    properties: dict[str, Any] = {
        "bootstrap.servers": cluster.bootstrap_servers,
        "client.id": client_id,
        "logger": logging.getLogger(LOGGER_NAME),
        "log.connection.close": False,  # brokers close idle connections; that's no event
        "socket.keepalive.enable": True,
        "topic.metadata.refresh.interval.ms": 30_000,
        "metadata.max.age.ms": 60_000,
        "reconnect.backoff.max.ms": 5_000,  # a broker that is back is found within seconds
    }
    if cluster.client_rack is not None:
        properties["client.rack"] = cluster.client_rack
    security = with_region(cluster)
    properties.update(_security(security))
    return ClientProperties(properties, security)


class Tokens:
    """Gives librdkafka a bearer token whenever it wants one: its `oauth_cb`.

    confluent-kafka calls it from a thread of librdkafka's, without being polled, and a client's constructor waits for
    it (*measured*, 2.16); librdkafka asks again when 80 % of a token's time is over, and re-authenticates by itself.
    """

    def __init__(self, source: TokenSource, security: SecurityConfig) -> None:
        self._source = source
        self._extensions = dict(security.extensions) if security.mechanism == "OAUTHBEARER" else {}

    def __call__(self, _: str | None) -> tuple[str, float, str, dict[str, str]]:
        try:
            token = self._source.token()
        except ReplicatorError as error:
            raise RuntimeError(str(error)) from None  # librdkafka tries again in a while; the source has logged it
        return token.text, token.ends_s, "", self._extensions

    def require(self, cluster: str) -> None:
        """ReplicatorError if there is no token: why."""
        try:
            self._source.token()
        except ReplicatorError as error:
            raise type(error)(f"cluster {cluster}: can't log in: {error}") from error


def needs_token(properties: Mapping[str, Any]) -> bool:
    """Whether a client of these logs in with tokens. Its constructor takes a second then (*measured*: confluent-kafka
    looks once a second whether the token is there), so it is made outside of the event loop."""
    return isinstance(properties.get("oauth_cb"), Tokens)


def require_token(properties: Mapping[str, Any], cluster: str) -> None:
    """Before a client is made: ReplicatorError, which names `cluster`, if it needs a token and none is to be had.

    The client would wait 10 s for it, and couldn't say what the matter is.
    """
    tokens = properties.get("oauth_cb")
    if isinstance(tokens, Tokens):
        tokens.require(cluster)


def _security(security: SecurityConfig) -> dict[str, Any]:
    properties: dict[str, Any] = {"security.protocol": security.protocol}
    if security.protocol in ("SSL", "SASL_SSL"):
        properties["ssl.endpoint.identification.algorithm"] = "https" if security.verify_hostname else "none"
        if security.ca_file is not None:
            properties["ssl.ca.location"] = security.ca_file
        if security.cert_file is not None:
            properties["ssl.certificate.location"] = security.cert_file
            properties["ssl.key.location"] = security.key_file or security.cert_file
        if security.key_password is not None:
            properties["ssl.key.password"] = security.key_password.get_secret_value()
    if security.protocol.startswith("SASL_"):
        if (tokens := token_source(security)) is not None:
            properties["sasl.mechanism"] = "OAUTHBEARER"
            properties["oauth_cb"] = Tokens(tokens, security)
            return properties
        properties["sasl.mechanism"] = security.mechanism
        properties["sasl.username"] = security.username or ""
        properties["sasl.password"] = security.password.get_secret_value() if security.password else ""
    return properties
