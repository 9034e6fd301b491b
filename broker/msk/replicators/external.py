"""How to log in to an Apache Kafka cluster that isn't MSK's: from its entry in the request, and the secret it names.

Secrets: SCRAM `{"username", "password"}`, mTLS `{"certificate", "privateKey", "privateKeyPassword"}`, OAuth
`{"client_id", "client_secret"}`; all may hold the authorities to trust: for mTLS as `caCertificate`, else as
`certificate`. Source: AWS developer guide, "Set up prerequisites for MSK Replicator with self-managed Apache Kafka
clusters"; the names for mTLS and OAuth are inferred.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broker.msk.secrets_source import InvalidSecret, SecretsSource
from broker.msk.state import write_atomically

_MECHANISMS = {"SHA256": "SCRAM-SHA-256", "SHA512": "SCRAM-SHA-512"}


class ExternalLogin:
    """Of one cluster; what is secret goes into files NAME-… of `directory`, readable by their owner alone."""

    def __init__(self, secrets: SecretsSource, directory: Path, name: str) -> None:
        self._secrets = secrets
        self._directory = directory
        self._name = name

    async def security(self, cluster: Mapping[str, Any]) -> dict[str, Any]:
        """The link's `security` section for a cluster. Raises InvalidSecret, OSError."""
        given = cluster["clientAuthentication"]
        encrypted = cluster.get("encryptionInTransit") or {}
        out: dict[str, Any] = {}
        if "saslScram" in given:
            secret = await self._secrets.content(given["saslScram"]["secretArn"])
            out |= {"protocol": "SASL_SSL", "mechanism": _MECHANISMS[given["saslScram"]["mechanism"]]}
            out |= {"username": _member(secret, "username"), "password": self._file("password", secret, "password")}
            authorities = secret.get("certificate")
        elif "mTLS" in given:
            secret = await self._secrets.content(given["mTLS"]["secretArn"])
            out["protocol"] = "SSL"
            out["cert_file"] = str(self._write("client.pem", _member(secret, "certificate")))
            out["key_file"] = str(self._write("client.key", _member(secret, "privateKey")))
            if secret.get("privateKeyPassword"):
                out["key_password"] = self._file("key.password", secret, "privateKeyPassword")
            authorities = secret.get("caCertificate")
        else:
            oauth = given["saslOAuthBearer"]
            secret = await self._secrets.content(oauth["clientCredentials"]["tokenRequestSecretArn"])
            out |= {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "token_endpoint": oauth["tokenEndpointUrl"]}
            out |= {"client_id": _member(secret, "client_id")}
            out["client_secret"] = self._file("client.secret", secret, "client_secret")
            if oauth.get("scope"):
                out["scope"] = oauth["scope"]
            authorities = secret.get("certificate")
        root = encrypted.get("rootCaCertificate")
        if root and root.startswith("arn:"):
            root = _member(await self._secrets.content(root), "certificate")
        if root or authorities:
            out["ca_file"] = str(self._write("ca.pem", str(root or authorities)))
        return out

    def _file(self, name: str, secret: Mapping[str, Any], member: str) -> dict[str, str]:
        return {"file": str(self._write(name, _member(secret, member)))}

    def _write(self, name: str, content: str) -> Path:
        path = self._directory / f"{self._name}-{name}"
        write_atomically(path, content.encode())
        return path


def _member(secret: Mapping[str, Any], name: str) -> str:
    value = secret.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidSecret(f"The provided secret doesn't hold a {name}.")
    return value
