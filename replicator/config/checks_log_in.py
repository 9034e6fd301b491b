"""How the settings of a log-in fit each other: which of them a mechanism needs, and which it has no use for."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from replicator.config.models import ClusterConfig, SecurityConfig
from replicator.config.tokens import TOKEN_MECHANISMS, region_of
from replicator.config.tree import KeyPath, Problem

_PASSWORD = ("username", "password")
_IAM = ("region", "profile", "role_arn", "role_session_name", "external_id")
_OAUTH = ("token_endpoint", "client_id", "client_secret", "client_auth", "scope", "extensions", "token_ca_file")
_OF = {
    "PLAIN": _PASSWORD,
    "SCRAM-SHA-256": _PASSWORD,
    "SCRAM-SHA-512": _PASSWORD,
    "AWS_MSK_IAM": _IAM,
    "OAUTHBEARER": _OAUTH,
}
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}")
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}")
_EXTENSION = re.compile(r"[A-Za-z]+")
_SECRETLY = "keep it out of this file: `%s: ${NAME}`, `{file: path}` or `{secretsmanager: name}`"


def log_in_problems(cluster: ClusterConfig, path: KeyPath) -> Iterator[Problem]:
    """What is missing for the mechanism, or has no use with it."""
    security = cluster.security
    if not security.protocol.startswith("SASL_"):
        safe = "SASL_SSL" if security.protocol == "SSL" else "SASL_SSL or SASL_PLAINTEXT"
        for key in ("mechanism", *_PASSWORD, *_IAM, *_OAUTH):
            if _given(security, key):
                yield Problem((*path, key), f"isn't used with protocol {security.protocol}; write `protocol: {safe}`")
        return
    if security.mechanism is None:
        yield Problem((*path, "mechanism"), f"{security.protocol} needs {', '.join(list(_OF)[:-1])} or {list(_OF)[-1]}")
    used = _OF.get(security.mechanism or "", _PASSWORD)
    if used is _PASSWORD:
        if not security.username:
            yield Problem((*path, "username"), f"{security.protocol} needs one")
        if security.password is None:
            yield Problem((*path, "password"), f"{security.protocol} needs one; {_SECRETLY % 'password'}")
    for key in (*_PASSWORD, *_IAM, *_OAUTH):
        if key not in used and _given(security, key):
            yield Problem((*path, key), f"isn't used with mechanism {security.mechanism}; {_instead(security, key)}")
    if security.mechanism == "AWS_MSK_IAM":
        yield from _iam(cluster, path)
    elif security.mechanism == "OAUTHBEARER":
        yield from _oauth(security, path)


def log_in_warnings(cluster: ClusterConfig, path: KeyPath) -> Iterator[Problem]:
    """What can be used, but shouldn't."""
    security = cluster.security
    if security.protocol == "SASL_PLAINTEXT" and security.mechanism in TOKEN_MECHANISMS:
        text = "the token travels in clear, and whoever reads it can log in with it; use SASL_SSL"
        yield Problem((*path, "protocol"), text)


def readable(path: KeyPath, name: str | None) -> Iterator[Problem]:
    """A file that is named has to be there."""
    if name is not None and not (os.path.isfile(name) and os.access(name, os.R_OK)):
        yield Problem(path, f"{name} isn't a file that can be read")


def _given(security: SecurityConfig, key: str) -> bool:
    return bool(getattr(security, key) != SecurityConfig.model_fields[key].default)


def _instead(security: SecurityConfig, key: str) -> str:
    if security.mechanism == "OAUTHBEARER" and key in _PASSWORD:
        return f"write client_{'id' if key == 'username' else 'secret'}"
    if security.mechanism == "AWS_MSK_IAM" and key in _PASSWORD:
        return "credentials come from AWS's default chain, or from `profile`"
    return "remove it"


def _iam(cluster: ClusterConfig, path: KeyPath) -> Iterator[Problem]:
    security = cluster.security
    if security.region is not None and not _REGION.fullmatch(security.region):
        yield Problem((*path, "region"), f"{security.region!r} isn't a region's name, such as us-east-1")
    elif region_of(cluster) is None:
        text = "is missing: the brokers' names don't hold it, and AWS_REGION isn't set; write for example us-east-1"
        yield Problem((*path, "region"), text)
    if security.role_arn is not None and not _ROLE.fullmatch(security.role_arn):
        text = f"{security.role_arn[:100]!r} isn't a role's ARN; write arn:aws:iam::ACCOUNT:role/NAME"
        yield Problem((*path, "role_arn"), text)
    if not _SESSION_NAME.fullmatch(security.role_session_name):
        yield Problem((*path, "role_session_name"), "has to be 2 to 64 letters, digits or any of _+=,.@-")
    if security.external_id is not None and not _EXTERNAL_ID.fullmatch(security.external_id):
        yield Problem((*path, "external_id"), "has to be 2 to 1224 letters, digits or any of _+=,.@:/-")
    for key in ("role_session_name", "external_id"):
        if security.role_arn is None and _given(security, key):
            yield Problem((*path, key), "is for role_arn, which isn't given")


def _oauth(security: SecurityConfig, path: KeyPath) -> Iterator[Problem]:
    if not security.token_endpoint:
        yield Problem((*path, "token_endpoint"), "is missing: OAUTHBEARER needs the address that gives tokens")
    elif (wrong := _why_not(security.token_endpoint)) is not None:
        yield Problem((*path, "token_endpoint"), wrong)
    if not security.client_id:
        yield Problem((*path, "client_id"), "is missing: OAUTHBEARER needs one")
    if security.client_secret is None:
        yield Problem((*path, "client_secret"), f"is missing: OAUTHBEARER needs one; {_SECRETLY % 'client_secret'}")
    for name, value in security.extensions.items():
        # RFC 7628, section 3.1; `auth` is the token's own
        if not _EXTENSION.fullmatch(name) or name == "auth":
            yield Problem((*path, "extensions", name), "an extension's name is letters alone, and not `auth`")
        elif not value.isprintable() or not value.isascii():
            yield Problem((*path, "extensions", name), "an extension's value is printable ASCII")
    yield from readable((*path, "token_ca_file"), security.token_ca_file)


def _why_not(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        parts.port  # noqa: B018 - ValueError for one that isn't a number
    except ValueError:
        return "isn't an address such as https://login.example.com/oauth2/token"
    if parts.username or parts.password:
        return "mustn't hold a secret; write client_id and client_secret"
    if not host or parts.scheme not in ("http", "https") or not url.isascii() or not url.isprintable() or " " in url:
        return f"{url[:200]!r} isn't an address such as https://login.example.com/oauth2/token"
    if parts.scheme == "http" and not _is_here(host):
        return "has to be https: the client's secret and the tokens would travel in clear"
    return None


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
