"""Which bearer tokens a cluster's `security:` settings mean. Who has the same settings shares the tokens."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from replicator.config.models import ClusterConfig, SecurityConfig
from replicator.credentials import client_credentials, msk_iam
from replicator.credentials.aws import AwsCredentials, region_of_brokers, region_of_environment
from replicator.credentials.token import TokenSource
from replicator.errors import ConfigurationError

TOKEN_MECHANISMS = frozenset({"AWS_MSK_IAM", "OAUTHBEARER"})
_MOST_SOURCES = 64

_lock = threading.Lock()
_sources: OrderedDict[Hashable, TokenSource] = OrderedDict()


def region_of(cluster: ClusterConfig) -> str | None:
    """The AWS region to sign for: as configured, by the brokers' names, or the environment's; None if nothing says."""
    security = cluster.security
    return security.region or region_of_brokers(cluster.bootstrap_servers) or region_of_environment()


def with_region(cluster: ClusterConfig) -> SecurityConfig:
    """The cluster's security settings, complete by themselves."""
    security = cluster.security
    if security.mechanism != "AWS_MSK_IAM" or security.region is not None:
        return security
    return security.model_copy(update={"region": region_of(cluster)})


def token_source(security: SecurityConfig) -> TokenSource | None:
    """The tokens of settings as `with_region` gives them; None for mechanisms without any."""
    if not security.protocol.startswith("SASL_") or security.mechanism not in TOKEN_MECHANISMS:
        return None
    secret = security.client_secret
    key: Hashable = (
        security.mechanism, security.region, security.profile, security.role_arn, security.role_session_name,
        security.external_id, security.token_endpoint, security.client_id, security.client_auth, security.scope,
        security.token_ca_file, None if secret is None else secret.get_secret_value(),
    )  # fmt: skip
    with _lock:
        source = _sources.get(key)
        if source is None:
            source = _sources[key] = _new_source(security)
            while len(_sources) > _MOST_SOURCES:
                _sources.popitem(last=False)
        _sources.move_to_end(key)
        return source


def _new_source(security: SecurityConfig) -> TokenSource:
    if security.mechanism == "OAUTHBEARER":
        secret = security.client_secret
        endpoint = client_credentials.Endpoint(
            security.token_endpoint or "",
            security.client_id or "",
            (lambda: "") if secret is None else secret.get_secret_value,
            security.scope,
            security.client_auth,
            security.token_ca_file,
        )
        return TokenSource(f"OAUTHBEARER as {security.client_id}", client_credentials.fetcher(endpoint))
    if security.region is None:
        raise ConfigurationError("security.region: AWS_MSK_IAM needs the cluster's region, such as us-east-1")
    credentials = AwsCredentials(
        region=security.region,
        profile=security.profile,
        role_arn=security.role_arn,
        session_name=security.role_session_name,
        external_id=security.external_id,
    )
    return TokenSource(f"AWS_MSK_IAM in {security.region}", msk_iam.fetcher(credentials, security.region))
