"""SaslAuthenticate (36), v0-2: the messages of the chosen mechanism. KIP-152, KIP-368 (v1: session lifetime).

A failure is answered after `connection.failed.authentication.delay.ms`, then the connection is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import kio.schema.sasl_authenticate
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import OPEN, api, build
from broker.security.session import step

FAILURE_DELAY_SECONDS = 0.1


@api(schema=kio.schema.sasl_authenticate, versions=range(3), asks=OPEN, before_authentication=True)
async def sasl_authenticate(ctx: RequestContext, request: Any) -> Any:
    """One step of the exchange."""
    try:
        answer, lifetime_ms = step(ctx, bytes(request.auth_bytes))
    except KafkaError as error:
        if error.code is ErrorCode.sasl_authentication_failed:
            await asyncio.sleep(FAILURE_DELAY_SECONDS)
        return build(ctx, error_code=error.code, error_message=error.message)
    return build(ctx, auth_bytes=answer, session_lifetime=lifetime_ms)
