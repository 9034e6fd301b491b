"""Where SCRAM users' passwords come from: secrets of AWS Secrets Manager, `{"username": ..., "password": ...}`.

Looked for first as a file DATA/secrets/NAME.json (NAME is the secret's name, e.g. AmazonMSK_alice), then at the
endpoint that AWS_ENDPOINT_URL_SECRETS_MANAGER names (moto, LocalStack). The real service is never asked.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.exceptions

log = logging.getLogger(__name__)
ENDPOINT = "AWS_ENDPOINT_URL_SECRETS_MANAGER"
PREFIX = "AmazonMSK_"
MAX_BYTES = 65_536  # of Secrets Manager
_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):(\d{12}):secret:([A-Za-z0-9/_+=.@-]{1,512})")
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}$")


class InvalidSecret(Exception):
    """A secret that can't be used; the text is the service's."""


class SecretsSource:
    """Reads secrets."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._endpoint = environment.get(ENDPOINT)

    async def read(self, arn: str) -> tuple[str, str]:
        """User name and password. Raises InvalidSecret."""
        match = _ARN.fullmatch(arn)
        if match is not None and not match[3].startswith(PREFIX):
            raise InvalidSecret(
                f"The provided secret arn cannot be used with Amazon MSK. Secret names must have the prefix '{PREFIX}'"
            )
        content = await self.content(arn)
        user, password = content.get("username"), content.get("password")
        if not (isinstance(user, str) and user and isinstance(password, str) and password):
            raise InvalidSecret("The provided secret doesn't hold a username and a password.")
        return user, password

    async def content(self, arn: str) -> dict[str, Any]:
        """What a secret of any name holds. Raises InvalidSecret."""
        match = _ARN.fullmatch(arn)
        if match is None:
            raise InvalidSecret("The provided secret arn is not valid.")
        text = self._from_file(match[3])
        if text is None and self._endpoint:
            text = await asyncio.to_thread(_from_endpoint, self._endpoint, match[1], arn)
        if text is None:
            raise InvalidSecret("Amazon MSK wasn't able to access the provided secret.")
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise InvalidSecret("The provided secret doesn't hold a JSON object.")
        return content

    async def users(self, arns: Sequence[str]) -> dict[str, str]:
        """Passwords by user name; a secret that can't be read any more is passed over, and said in the log."""
        out = {}
        for arn in arns:
            try:
                user, password = await self.read(arn)
            except InvalidSecret as error:
                log.warning("the SCRAM user of %s can't log in: %s", arn, error)
            else:
                out[user] = password
        return out

    def _from_file(self, name: str) -> str | None:
        for candidate in (name, _SUFFIX.sub("", name)):
            path = self._directory / f"{candidate.replace('/', '_')}.json"
            if path.is_file() and path.stat().st_size <= MAX_BYTES:
                return path.read_text("utf-8")
        return None


def _from_endpoint(endpoint: str, region: str, arn: str) -> str | None:
    timeouts = botocore.config.Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 2})
    client: Any = boto3.client("secretsmanager", endpoint_url=endpoint, region_name=region, config=timeouts)
    try:
        return str(client.get_secret_value(SecretId=arn)["SecretString"])
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, KeyError) as error:
        log.warning("secret %s can't be read from %s: %s", arn, endpoint, type(error).__name__)
        return None
