"""Who may use the control plane and its brokers: one file, DATA/credentials.json, that both read.

It holds what the file of `--credentials` says (read again when that changes), the credentials of the environment as the
account's root, and the sessions of roles that were begun here. It is made from these, and not to be edited.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from pydantic import SecretStr

from broker.iam import arns
from broker.iam.errors import SignatureError, StoreError
from broker.iam.patterns import Context
from broker.iam.policy import PolicyDocument, Question, Verdict, decide
from broker.iam.signature import verify_headers
from broker.iam.store import Accounts, Credential, CredentialStore
from broker.msk.authentication import SERVICE, Signed
from broker.msk.errors import FrontDoorError
from broker.msk.registry import Caller
from broker.msk.settings import Settings

log = logging.getLogger(__name__)
SESSION_PREFIX = "ASIA"  # access keys of sessions


class CredentialsError(Exception):
    """There is nobody who could use the control plane, or the file can't be read; the text says what to do."""


class Credentials:
    """Authenticates and judges callers. Raises CredentialsError at the start."""

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], path: Path, now: Callable[[], datetime]
    ) -> None:
        self._path = path
        self._source = settings.credentials
        self._source_stamp: tuple[int, int, int] | None = None
        self._account = settings.account
        self._environment = _of_environment(environment)
        try:
            if not path.exists():
                _create(path, settings.account)
            self.store = CredentialStore(path, now=now)
            self._merge(self._read_source())
        except StoreError as error:
            raise CredentialsError(str(error)) from error
        if not self.store.accounts.credentials:
            raise CredentialsError(
                "nobody could sign a request: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (any values: they are "
                "the account's root here), or name a file with --credentials"
            )

    def authenticate(self, request: Signed, now: datetime) -> tuple[Caller, str]:
        """Who signed a request and for which region. Raises FrontDoorError with AWS's code."""
        self.refresh()
        try:
            signer = verify_headers(
                request.method,
                request.path,
                request.query,
                request.headers,
                request.body_sha256,
                service=SERVICE,
                regions=None,  # one endpoint stands for the service in all regions
                store=self.store,
                now=now,
            )
        except SignatureError as error:
            raise FrontDoorError(error.code, str(error)) from error
        arn = signer.credential.principal_arn
        account = arns.account_of(arn) or self.store.account
        return Caller(arn, account, signer.credential.access_key_id), signer.region

    def judge(self, caller: Caller, action: str, resource: str, context: Context, policy: str | None) -> Verdict:
        """What the caller's policies, and that of the resource, say to an action."""
        question = Question(action, resource, caller.arn, context)
        there = [PolicyDocument.parse(policy, kind="resource")] if policy else []
        return decide(question, identity=self.store.policies_of(caller.arn), resource=there, owner=_owner(resource))

    def refresh(self) -> None:
        """Take over what has changed in the file of `--credentials`; one that isn't valid changes nothing."""
        if self._source is None or _stamp(self._source) == self._source_stamp:
            return
        try:
            self._merge(self._read_source())
        except StoreError as error:
            log.warning("going on with the credentials as they were: %s", error)

    def _read_source(self) -> Accounts:
        if self._source is None:
            return Accounts(account=self._account)
        self._source_stamp = _stamp(self._source)
        return CredentialStore(self._source).accounts

    def _merge(self, base: Accounts) -> None:
        present = self.store.accounts
        mine = []
        if self._environment is not None:
            mine.append(self._environment.model_copy(update={"principal_arn": f"arn:aws:iam::{base.account}:root"}))
        taken = {one.access_key_id for one in (*mine, *base.credentials)}
        sessions = [
            one
            for one in present.credentials
            if one.access_key_id.startswith(SESSION_PREFIX) and one.access_key_id not in taken
        ]
        others = [one for one in base.credentials if one.access_key_id not in {given.access_key_id for given in mine}]
        attached = [one for one in present.identities if arns.role_of(one.arn)]  # what sessions of replicators may do
        wanted = base.model_copy(
            update={"credentials": (*mine, *others, *sessions), "identities": (*base.identities, *attached)}
        )
        if wanted != present:
            self.store.write(wanted)


def _owner(resource: str) -> str | None:
    parts = resource.split(":")
    return parts[4] if len(parts) > 5 and parts[4].isdigit() else None


def _of_environment(environment: Mapping[str, str]) -> Credential | None:
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        return None
    token = environment.get("AWS_SESSION_TOKEN")
    return Credential(
        access_key_id=key,
        secret_access_key=SecretStr(secret),
        session_token=SecretStr(token) if token else None,
        principal_arn="",
    )


def _create(path: Path, account: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(Accounts(account=account).model_dump_json())


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
