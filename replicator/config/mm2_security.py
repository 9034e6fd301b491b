"""A cluster's connection in MirrorMaker's properties, as `clusters.<alias>` here. Secrets become references."""

from __future__ import annotations

import re
from typing import Any

from replicator.config.mm2 import Found, Mm2Properties, is_true
from replicator.config.mm2_secrets import Secrets, escaped
from replicator.credentials.aws import region_of_brokers

_OPTION = re.compile(r"([\w.]+)\s*=\s*(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s;]+)")
_IAM_OPTIONS = {
    "awsRoleArn": "role_arn",
    "awsProfileName": "profile",
    "awsRoleSessionName": "role_session_name",
    "awsRoleExternalId": "external_id",
}
_IAM_IDLE = {"awsDebugCreds", "awsStsRegion", "awsMaxRetries", "awsMaxBackOffTimeMs"}  # STS is asked in the region


def cluster(properties: Mm2Properties, secrets: Secrets, alias: str) -> dict[str, Any]:
    """The mapping under `clusters.<alias>`. What has no place there becomes a note."""
    servers = properties.client(alias, "bootstrap.servers")
    if servers is None:
        properties.note(f"clusters.{alias}: no bootstrap.servers are given; set bootstrap_servers")
    addresses = secrets.refer(servers, f"{alias}_bootstrap_servers", secret=False) if servers else "SET-ME:9092"
    made: dict[str, Any] = {"bootstrap_servers": addresses}
    security = _Security(properties, secrets, alias, str(addresses)).build()
    if security:
        made["security"] = security
    rack = properties.consumer((alias, ""), "client.rack") or properties.client(alias, "client.rack")
    if rack:
        made["client_rack"] = secrets.refer(rack, f"{alias}_client_rack", secret=False)
    return made


class _Security:
    def __init__(self, properties: Mm2Properties, secrets: Secrets, alias: str, addresses: str) -> None:
        self._properties = properties
        self._secrets = secrets
        self._alias = alias
        self._addresses = addresses
        self._made: dict[str, Any] = {}

    def build(self) -> dict[str, Any]:
        protocol = self._get("security.protocol")
        name = protocol.value.strip().upper() if protocol else "PLAINTEXT"
        if protocol:
            self._made["protocol"] = name
        if name.startswith("SASL_"):
            self._sasl()
        if name.endswith("SSL"):
            self._trust()
            self._own_certificate()
            checked = self._get("ssl.endpoint.identification.algorithm")
            if checked is not None and not checked.value.strip():
                self._made["verify_hostname"] = False
        return self._made

    def _get(self, name: str) -> Found | None:
        return self._properties.client(self._alias, name)

    def _refer(self, found: Found, what: str, *, secret: bool = True) -> Any:
        return self._secrets.refer(found, f"{self._alias}_{what}", secret=secret)

    def _note(self, text: str, found: Found | None) -> None:
        self._properties.note(f"clusters.{self._alias}.security: {text}", found)

    def _sasl(self) -> None:
        found = self._get("sasl.mechanism")
        mechanism = found.value.strip() if found else "GSSAPI"  # Kafka's default
        self._made["mechanism"] = mechanism
        jaas = self._get("sasl.jaas.config")
        options = {key: _unquoted(value) for key, value in _OPTION.findall(jaas.value)} if jaas else {}
        at = jaas or found
        if mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            self._login(at, options.get("username"), options.get("password"), "sasl.jaas.config")
            if is_true(options.get("tokenauth", "false")):
                self._note("delegation tokens are used as user name and password; they aren't renewed", at)
        elif mechanism == "AWS_MSK_IAM":
            self._iam(at, options)
        elif mechanism == "OAUTHBEARER":
            callback = self._get("sasl.login.callback.handler.class")
            if callback is not None and "IAM" in callback.value:  # Amazon's, which makes tokens of AWS credentials
                self._made["mechanism"] = "AWS_MSK_IAM"
                self._iam(at, options)
            else:
                self._oauth(at, options)
        elif mechanism == "GSSAPI":
            self._note("Kerberos isn't supported; use SCRAM-SHA-512, OAUTHBEARER or mutual TLS", at)
        else:
            self._note(f"sasl.mechanism {mechanism} isn't known", at)

    def _iam(self, at: Found | None, options: dict[str, str]) -> None:
        """The options of `software.amazon.msk.auth.iam.IAMLoginModule`."""
        callback = self._get("sasl.client.callback.handler.class")
        if callback is not None and "IAM" not in callback.value:
            self._note("sasl.client.callback.handler.class has no equivalent", callback)
        region = region_of_brokers(self._addresses)
        if region is None:  # else it is read from the brokers' names
            self._made["region"] = "SET-ME"
            self._note("set `region`: it isn't in the brokers' addresses", at)
        for option, key in _IAM_OPTIONS.items():
            if option in options:
                self._made[key] = escaped(options[option])
        for option in sorted(options.keys() - _IAM_OPTIONS.keys() - _IAM_IDLE):
            self._note(f"the login option {option} has no equivalent; the default chain of credentials is used", at)

    def _login(self, at: Found | None, username: str | None, password: str | None, name: str) -> None:
        if at is None or username is None or password is None:
            self._note(f"set `username` and `password`: they aren't in {name}", at)
        if at is not None and username is not None:
            self._made["username"] = self._refer(_part(at, username), "username", secret=False)
        if at is not None and password is not None:
            self._made["password"] = self._refer(_part(at, password), "password")

    def _oauth(self, at: Found | None, options: dict[str, str]) -> None:
        endpoint = self._get("sasl.oauthbearer.token.endpoint.url")
        identity = self._get("sasl.oauthbearer.client.credentials.client.id")
        secret = self._get("sasl.oauthbearer.client.credentials.client.secret")
        if endpoint is not None:
            self._made["token_endpoint"] = self._refer(endpoint, "token_endpoint", secret=False)
        else:
            self._note("set `token_endpoint`: sasl.oauthbearer.token.endpoint.url isn't given", at)
        name, word = options.get("clientId"), options.get("clientSecret")
        if identity is not None:
            self._made["client_id"] = self._refer(identity, "client_id", secret=False)
        elif at is not None and name is not None:
            self._made["client_id"] = self._refer(_part(at, name), "client_id", secret=False)
        if secret is not None:
            self._made["client_secret"] = self._refer(secret, "client_secret")
        elif at is not None and word is not None:
            self._made["client_secret"] = self._refer(_part(at, word), "client_secret")
        if not {"client_id", "client_secret"} <= self._made.keys():
            self._note("set `client_id` and `client_secret`: they aren't in sasl.jaas.config", at)
        scope = self._get("sasl.oauthbearer.scope")
        if scope is not None:
            self._made["scope"] = self._refer(scope, "scope", secret=False)
        elif "scope" in options:
            self._made["scope"] = escaped(options["scope"])
        prefix = "extension_"
        if found := {key.removeprefix(prefix): escaped(options[key]) for key in options if key.startswith(prefix)}:
            self._made["extensions"] = found

    def _trust(self) -> None:
        kind = self._get("ssl.truststore.type")
        location = self._get("ssl.truststore.location")
        inline = self._get("ssl.truststore.certificates")
        password = self._get("ssl.truststore.password")
        is_pem = kind is not None and kind.value.strip().upper() == "PEM"
        if inline is not None:
            self._made["ca_file"] = f"{self._alias}-ca.pem"
            self._note(f"write the certificates to {self._alias}-ca.pem; they are public", inline)
        elif location is not None and is_pem:
            self._made["ca_file"] = self._refer(location, "ca_file", secret=False)
        elif location is not None:
            self._made["ca_file"] = f"{self._alias}-ca.pem"
            self._note(
                f"Java key stores can't be read; make {self._alias}-ca.pem from it: "
                f"keytool -list -rfc -keystore {location.value} > {self._alias}-ca.pem",
                location,
            )
        if password is not None:
            self._note("PEM files of certificates have no password", password)

    def _own_certificate(self) -> None:
        kind = self._get("ssl.keystore.type")
        location = self._get("ssl.keystore.location")
        chain, key = self._get("ssl.keystore.certificate.chain"), self._get("ssl.keystore.key")
        is_pem = kind is not None and kind.value.strip().upper() == "PEM"
        pem = f"{self._alias}-client.pem"
        if chain is not None or key is not None:
            self._made["cert_file"] = pem
            self._note(f"write private key and certificate chain to {pem}, readable by nobody else", key or chain)
        elif location is not None and is_pem:
            self._made["cert_file"] = self._refer(location, "cert_file", secret=False)
        elif location is not None:
            self._made["cert_file"] = pem
            self._note(
                f"Java key stores can't be read; make {pem} from it: openssl pkcs12 -in {location.value} -out {pem} "
                "(a JKS one: first keytool -importkeystore -deststoretype PKCS12)",
                location,
            )
        for name in ("ssl.key.password", "ssl.keystore.password"):
            password = self._get(name)
            if password is None:
                continue
            if name == "ssl.key.password" and "cert_file" in self._made:
                self._made["key_password"] = self._refer(password, "key_password")
            else:
                self._note("PEM files have no password of their own but the key's", password)


def _part(found: Found, value: str) -> Found:
    return Found(value, found.key, found.line)


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text
