"""A cluster's connection in MirrorMaker's properties, as `clusters.<alias>` here. Secrets become references."""

from __future__ import annotations

import re
from typing import Any

from replicator.config.mm2 import Found, Mm2Properties, is_true
from replicator.config.mm2_secrets import Secrets

_OPTION = re.compile(r"([\w.]+)\s*=\s*(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s;]+)")
_MSK_REGION = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com")


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
            region = _MSK_REGION.search(self._addresses)
            self._made["region"] = region[1] if region else "SET-ME"
            if not region:
                self._note("set `region`: it isn't in the brokers' addresses", at)
            for option, key in (("awsRoleArn", "role_arn"), ("awsProfileName", "profile")):
                if option in options:
                    self._made[key] = options[option]
            for option in options.keys() - {"awsRoleArn", "awsProfileName"}:
                self._note(f"the login option {option} has no equivalent; the default chain of credentials is used", at)
        elif mechanism == "OAUTHBEARER":
            self._oauth(at, options)
        elif mechanism == "GSSAPI":
            self._note("Kerberos isn't supported; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", at)
        else:
            self._note(f"sasl.mechanism {mechanism} isn't known", at)

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
        if identity is not None and secret is not None:
            self._made["username"] = self._refer(identity, "client_id", secret=False)
            self._made["password"] = self._refer(secret, "client_secret")
        else:
            self._login(at, options.get("clientId"), options.get("clientSecret"), "sasl.jaas.config")
        if "scope" in options:
            self._note(f"the scope {options['scope']!r} has no equivalent", at)

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
