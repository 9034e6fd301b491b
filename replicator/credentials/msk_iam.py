"""Tokens for Amazon MSK's IAM log-in: a signed URL for `kafka-cluster:Connect`, carried by SASL OAUTHBEARER.

The signing is that of `aws-msk-iam-sasl-signer-python`. A token is valid for 900 s, or until its credentials end.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from replicator.credentials.aws import AwsCredentials
from replicator.credentials.token import Token


def fetcher(credentials: AwsCredentials, region: str, clock: Callable[[], float] = time.time) -> Callable[[], Token]:
    """What makes a token of the present credentials; raises as `AwsCredentials.now`."""

    def fetch() -> Token:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # needs botocore, which takes a moment to import
        from botocore.credentials import CredentialProvider

        made_s = clock()
        held, credentials_end_s = credentials.now()

        class Given(CredentialProvider):  # type: ignore[misc]
            def load(self) -> object:
                return held

        text, ends_ms = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider(region, Given())
        ends_s = ends_ms / 1000
        return Token(text, made_s, ends_s if credentials_end_s is None else min(ends_s, credentials_end_s))

    return fetch
