"""AWS credentials: the default chain, a profile, or a role that is assumed with either.

One botocore session per profile is kept. botocore is imported when it is first needed: it takes a moment.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from replicator.errors import AuthenticationError, ConfigurationError, ReplicatorError, UnreachableError

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from botocore.session import Session

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 5

# b-1.x.abc.c2.kafka.us-east-1.amazonaws.com, boot-x.c1.kafka-serverless.…, and the same of China and GovCloud
_BROKER = re.compile(r"\.kafka(?:-serverless)?\.([a-z]{2}(?:-[a-z]+)+-\d+)\.[a-z0-9.]+$")

_lock = threading.RLock()  # sessions aren't safe for several threads
_sessions: dict[str | None, Session] = {}


def region_of_brokers(bootstrap_servers: str) -> str | None:
    """The region that the names of Amazon MSK's brokers hold; None where they hold none, or several."""
    hosts = (address.strip().rpartition(":")[0].rstrip(".").lower() for address in bootstrap_servers.split(","))
    found = {match[1] if (match := _BROKER.search(host)) else None for host in hosts}
    return found.pop() if len(found) == 1 else None


def region_of_environment(environ: Mapping[str, str] = os.environ) -> str | None:
    """AWS_REGION, else AWS_DEFAULT_REGION."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None


def client(service: str, *, region: str | None, profile: str | None) -> Any:
    """A client of an AWS service with short limits. `errors_as_ours` turns what it raises into ours."""
    with _lock:
        session = _session(profile)
        where = region or region_of_environment() or session.get_config_variable("region")
        return session.create_client(service, region_name=where, config=_limits())


class AwsCredentials:
    """The present credentials of a profile (None: the default chain), or of a role that is assumed with them."""

    def __init__(
        self,
        *,
        region: str,
        profile: str | None = None,
        role_arn: str | None = None,
        session_name: str = "replicator",
        external_id: str | None = None,
    ) -> None:
        self._region = region
        self._profile = profile
        self._role_arn = role_arn
        self._extra = {"RoleSessionName": session_name} | ({"ExternalId": external_id} if external_id else {})
        self._assumed: Any = None

    def now(self) -> tuple[Credentials, float | None]:
        """Credentials that don't change any more, and when they end (seconds since 1970), where that is known.

        Blocking. AuthenticationError without credentials or where they are refused, UnreachableError where whoever
        gives them can't be reached.
        """
        from botocore.credentials import Credentials

        with _lock, errors_as_ours(self._what()):
            held = self._of_role() if self._role_arn else self._of_chain()
            if held is None:
                raise AuthenticationError(
                    "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                    "security.profile, or run where an instance, task or pod role gives them"
                )
            frozen = held.get_frozen_credentials()
            ends = getattr(held, "_expiry_time", None)
            if not frozen.access_key or not frozen.secret_key:
                raise AuthenticationError("the AWS credentials that were found are empty")
            return (
                Credentials(frozen.access_key, frozen.secret_key, frozen.token),
                ends.timestamp() if isinstance(ends, datetime) else None,
            )

    def _what(self) -> str:
        return f"assume role {self._role_arn}" if self._role_arn else "AWS credentials"

    def _of_chain(self) -> Any:
        from botocore.credentials import RefreshableCredentials

        session = _session(self._profile)
        held = session.get_credentials()
        if held is None or isinstance(held, RefreshableCredentials):
            return held
        # Those of a file: it may hold others by now, which the session wouldn't see.
        return session.get_component("credential_provider").load_credentials()

    def _of_role(self) -> Any:
        from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

        if self._assumed is None and (source := self._of_chain()) is not None:

            def sts(service: str, **given: Any) -> Any:
                return _session(self._profile).create_client(
                    service, region_name=self._region, config=_limits(), **given
                )

            fetcher = AssumeRoleCredentialFetcher(sts, source, self._role_arn, extra_args=self._extra)
            made = DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")
            made.get_frozen_credentials()  # if that fails, the next attempt looks for credentials anew
            self._assumed = made
        return self._assumed


@contextmanager
def errors_as_ours(what: str) -> Iterator[None]:
    """What botocore raises meanwhile as ReplicatorError. Its texts hold no secrets."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectionError,
        HTTPClientError,
        MetadataRetrievalError,
        ProfileNotFound,
    )

    try:
        yield
    except ClientError as error:
        raise _refusal(what, error) from error
    except ProfileNotFound as error:
        raise ConfigurationError(f"{what}: {error}; see security.profile") from error
    except (HTTPClientError, ConnectionError, MetadataRetrievalError) as error:
        raise UnreachableError(f"{what}: {error}") from error
    except BotoCoreError as error:
        raise AuthenticationError(f"{what}: {error}") from error


def _refusal(what: str, error: Any) -> ReplicatorError:
    said: dict[str, Any] = error.response.get("Error", {})
    text = f"{what}: {said.get('Code', 'error')}: {str(said.get('Message', ''))[:500]}"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= 500 or "Throttl" in str(said.get("Code")):
        return UnreachableError(text)
    return AuthenticationError(text)


def _session(profile: str | None) -> Session:
    import botocore.session

    with _lock:
        if profile not in _sessions:
            logging.getLogger("botocore.credentials").setLevel(logging.ERROR)  # it logs what it raises, too, at length
            _sessions[profile] = botocore.session.Session(profile=profile)
        return _sessions[profile]


def forget_sessions() -> None:
    """Look at environment and files anew."""
    with _lock:
        _sessions.clear()


def _limits() -> Any:
    from botocore.config import Config

    retries = {"max_attempts": 2, "mode": "standard"}
    return Config(connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S, retries=retries)
