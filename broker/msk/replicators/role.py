"""Whom a replicator acts as: temporary credentials of its service execution role, renewed before they expire.

A session is called like the account, as the service's are, so that Kafka quotas on
`arn:aws:sts::ACCOUNT:assumed-role/ROLE/ACCOUNT` hold for all replicators of a role.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from broker.iam import arns
from broker.iam.errors import StoreError
from broker.iam.store import CredentialStore, Identity, Role
from broker.msk.errors import BadRequest
from broker.msk.replicators.policies import EXECUTION_POLICY, SERVICE, TRUST, own_needs, trusts_service
from broker.msk.state import write_atomically

LIFETIME_S = 3600.0
RENEW_WITHIN_S = 1800.0  # of what is left; clients renew from 15 minutes before the end on
_WHERE = "serviceExecutionRoleArn"


class Roles:
    """The roles of the credential file that control plane and brokers read. With `made_up`, roles that nobody has
    described are made, with the rights of AWS's managed policy: there is nowhere else to create them."""

    def __init__(self, file: Path, now: Callable[[], datetime], *, made_up: bool) -> None:
        self._file = file
        self._now = now
        self._made_up = made_up
        self._opened: CredentialStore | None = None

    @property
    def _store(self) -> CredentialStore:
        if self._opened is None:
            self._opened = CredentialStore(self._file, now=self._now)
        return self._opened

    def check(self, role_arn: str, account: str) -> None:
        """Raises BadRequest unless the service may assume the role for this account."""
        role = self._find(role_arn)
        if role is None:
            raise BadRequest(f"The service execution role {role_arn} doesn't exist.", _WHERE)
        if not trusts_service(role.trust, account):
            raise BadRequest(
                f"The trust policy of the service execution role {role_arn} must allow {SERVICE} to assume it "
                "(sts:AssumeRole).",
                _WHERE,
            )

    def renew(self, role_arn: str, account: str, directory: Path) -> None:
        """See to it that `directory` holds credentials that last a while, and that the brokers know what they allow.
        Raises StoreError when the role is gone, OSError."""
        role = self._find(role_arn)
        if role is None:
            raise StoreError(f"there is no role {role_arn}")
        if not trusts_service(role.trust, account):
            raise StoreError(f"the trust policy of {role_arn} doesn't let {SERVICE} assume it any more")
        self._attach(role, account)
        path = directory / "session.json"
        if self._lasts(path):
            return
        made = self._store.add_role_session(role_arn, account, lifetime_s=LIFETIME_S)
        assert made.session_token is not None
        assert made.expires is not None
        content = {
            "Version": 1,
            "AccessKeyId": made.access_key_id,
            "SecretAccessKey": made.secret_access_key.get_secret_value(),
            "SessionToken": made.session_token.get_secret_value(),
            "Expiration": made.expires.isoformat(),
        }
        write_atomically(path, json.dumps(content).encode())
        process = f"cat {shlex.quote(str(path))}"
        write_atomically(directory / "aws-config", f"[default]\ncredential_process = {process}\n".encode())

    def _find(self, role_arn: str) -> Role | None:
        role = self._store.role(role_arn)
        if role is None and self._made_up:
            role = Role(arn=role_arn, trust=TRUST, policies=(EXECUTION_POLICY,))
            accounts = self._store.accounts
            self._store.write(accounts.model_copy(update={"roles": (*accounts.roles, role)}))
        return role

    def _attach(self, role: Role, account: str) -> None:
        """What the role's sessions may do: as the role, and keep what links keep for themselves."""
        accounts = self._store.accounts
        partition = role.arn.split(":")[1]
        session = f"arn:{partition}:sts::{account}:assumed-role/{arns.role_name(role.arn)}/{account}"
        wanted = Identity(arn=session, policies=(*role.policies, own_needs(account)), tags=role.tags)
        if wanted not in accounts.identities:
            others = tuple(one for one in accounts.identities if one.arn != session)
            self._store.write(accounts.model_copy(update={"identities": (*others, wanted)}))

    def _lasts(self, path: Path) -> bool:
        """Whether there are credentials, known to the brokers, that don't expire soon."""
        try:
            content = json.loads(path.read_bytes())
            expires = datetime.fromisoformat(content["Expiration"])
            known = self._store.find(content["AccessKeyId"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return known is not None and expires - self._now() > timedelta(seconds=RENEW_WITHIN_S)


def environment(directory: Path, region: str, base: Mapping[str, str]) -> dict[str, str]:
    """A child's environment: its role's credentials, and nothing of the control plane's own."""
    kept = {name: value for name, value in base.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_CONFIG_FILE": str(directory / "aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(directory / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }
