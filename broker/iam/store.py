"""Who there is: access keys, identities with their policies, and roles, from one JSON file.

    {"account": "123456789012",
     "credentials": [{"access_key_id": "AKIA…", "secret_access_key": "…", "session_token": null,
                      "principal_arn": "arn:aws:iam::123456789012:user/alice", "expires": null}],
     "identities": [{"arn": "arn:aws:iam::123456789012:user/alice", "policies": […], "tags": {}}],
     "roles": [{"arn": "arn:aws:iam::123456789012:role/Replicator", "trust": {…}, "policies": […], "tags": {}}]}

The file is read again when it has changed. One that can't be read or isn't valid any more changes nothing, and is
named in the log. Who has no identity may do nothing, but the account's root, who may do everything that nothing denies.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from broker.iam import arns
from broker.iam.errors import PolicyError, StoreError
from broker.iam.policy import PolicyDocument

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 8 << 20
DEFAULT_ACCOUNT = "123456789012"
_SESSION_S = 12 * 3600

Stamp = tuple[int, int, int]


def _identity_policies(documents: Sequence[Any]) -> tuple[PolicyDocument, ...]:
    return tuple(PolicyDocument.parse(document, kind="identity") for document in documents)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Credential(_Frozen):
    """An access key and whose it is. `expires` and `session_token` are those of temporary ones."""

    access_key_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{4,128}$")]
    secret_access_key: SecretStr
    session_token: SecretStr | None = None
    principal_arn: Annotated[str, Field(max_length=2048)]
    expires: AwareDatetime | None = None


class Identity(_Frozen):
    """What is attached to a user or a role."""

    arn: Annotated[str, Field(max_length=2048)]
    policies: tuple[dict[str, Any], ...] = ()
    tags: dict[str, str] = {}

    @property
    def documents(self) -> tuple[PolicyDocument, ...]:
        """The policies, parsed; they were found valid when the file was read."""
        return _identity_policies(self.policies)


def _valid_trust(trust: dict[str, Any]) -> dict[str, Any]:
    if trust:
        PolicyDocument.parse(trust, kind="trust")
    return trust


class Role(Identity):
    """A role, and who may assume it."""

    trust: Annotated[dict[str, Any], AfterValidator(_valid_trust)] = {}


class Accounts(_Frozen):
    """The whole file."""

    account: Annotated[str, Field(pattern=r"^\d{12}$")] = DEFAULT_ACCOUNT
    credentials: tuple[Credential, ...] = ()
    identities: tuple[Identity, ...] = ()
    roles: tuple[Role, ...] = ()


class CredentialStore:
    """The credentials of a file, of the environment, or both; those of sessions that were begun here besides.

    `now` is the clock for what expires.
    """

    def __init__(
        self, path: Path | None = None, accounts: Accounts | None = None, *, now: Callable[[], datetime] | None = None
    ):
        """StoreError if the file can't be read or isn't valid."""
        self.path = path
        self._now = now or (lambda: datetime.now(UTC))
        self.refused_files = 0  # changed ones that couldn't be used
        self._extra: dict[str, Credential] = {}
        self._stamp: Stamp | None = None
        self._accounts = accounts or Accounts()
        if path is not None:
            self._stamp = _stamp(path)
            self._accounts = _read(path)
        self._index()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], path: Path | None = None) -> CredentialStore:
        """With the environment's AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, if there, as the account's root."""
        store = cls(path)
        key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
        if key and secret:
            token = environment.get("AWS_SESSION_TOKEN")
            store.add(
                Credential(
                    access_key_id=key,
                    secret_access_key=SecretStr(secret),
                    session_token=SecretStr(token) if token else None,
                    principal_arn=f"arn:aws:iam::{store.account}:root",
                )
            )
        return store

    @property
    def account(self) -> str:
        """The account whose clusters these are."""
        return self._accounts.account

    @property
    def accounts(self) -> Accounts:
        """All that is in the file."""
        self._refresh()
        return self._accounts

    def find(self, access_key_id: str) -> Credential | None:
        """The credential of this access key; None if it isn't known."""
        self._refresh()
        return self._extra.get(access_key_id) or self._by_key.get(access_key_id)

    def identity(self, arn: str) -> Identity | None:
        """What is attached to this principal; of a role's session what is attached to the role."""
        self._refresh()
        role = arns.role_of(arn)
        return self._by_arn.get(arn) or (self._roles.get(role) if role is not None else None)

    def role(self, arn: str) -> Role | None:
        """The role of this ARN, with or without its path."""
        self._refresh()
        return self._roles.get(arns.without_path(arn))

    def policies_of(self, arn: str) -> tuple[PolicyDocument, ...]:
        """The policies of a principal: none for who isn't known."""
        self._refresh()
        known = self._documents.get(arn)
        if known is None:
            found = self.identity(arn)
            known = self._documents[arn] = found.documents if found is not None else ()
        return known

    def add(self, credential: Credential) -> None:
        """Another one, kept in this process alone."""
        self._extra[credential.access_key_id] = credential

    def add_role_session(
        self, role_arn: str, session: str, *, lifetime_s: float = _SESSION_S, keep: bool = True
    ) -> Credential:
        """Temporary credentials of a role, as sts:AssumeRole gives them; with `keep` in the file as well, so that other
        processes know them. StoreError if there is no such role."""
        role = self.role(role_arn)
        if role is None:
            raise StoreError(f"there is no role {role_arn}")
        account = arns.account_of(role.arn) or self.account
        made = Credential(
            access_key_id="ASIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16)),
            secret_access_key=SecretStr(secrets.token_urlsafe(30)),
            session_token=SecretStr(secrets.token_urlsafe(64)),
            principal_arn=f"arn:aws:sts::{account}:assumed-role/{arns.role_name(role.arn)}/{session}",
            expires=self._now() + timedelta(seconds=lifetime_s),
        )
        if keep and self.path is not None:
            self._refresh()
            living = [one for one in self._accounts.credentials if one.expires is None or one.expires > self._now()]
            self.write(self._accounts.model_copy(update={"credentials": (*living, made)}))
        else:
            self.add(made)
        return made

    def write(self, accounts: Accounts) -> None:
        """Replace the file, atomically, readable by its owner alone."""
        if self.path is None:
            raise StoreError("these credentials aren't in a file")
        text = json.dumps(_plain(accounts), indent=2)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")  # mode 0600
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._accounts, self._stamp = accounts, _stamp(self.path)
        self._index()

    def _refresh(self) -> None:
        if self.path is None or (stamp := _stamp(self.path)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._accounts = _read(self.path)
        except StoreError as error:
            self.refused_files += 1
            log.warning("going on with the credentials as they were: %s", error)
            return
        self._index()

    def _index(self) -> None:
        self._by_key = {one.access_key_id: one for one in self._accounts.credentials}
        self._by_arn = {one.arn: one for one in self._accounts.identities}
        self._roles = {arns.without_path(role.arn): role for role in self._accounts.roles}
        self._documents: dict[str, tuple[PolicyDocument, ...]] = {}


def _read(path: Path) -> Accounts:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise StoreError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
        accounts = Accounts.model_validate_json(data)
        for identity in (*accounts.identities, *accounts.roles):
            try:
                _identity_policies(identity.policies)
            except PolicyError as error:
                raise StoreError(f"{path}: a policy of {identity.arn}: {error}") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    except ValidationError as error:  # without the values: some are secrets
        places = (f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in error.errors()[:5])
        raise StoreError(f"{path}: {'; '.join(places)}") from None
    return accounts


def _plain(accounts: Accounts) -> dict[str, Any]:
    def shown(value: Any) -> Any:
        return value.get_secret_value() if isinstance(value, SecretStr) else value

    data = accounts.model_dump(mode="json", exclude={"credentials"})
    data["credentials"] = [
        {name: shown(value) for name, value in one.model_dump(exclude={"expires"}).items()}
        | {"expires": one.expires.isoformat() if one.expires else None}
        for one in accounts.credentials
    ]
    return data


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
