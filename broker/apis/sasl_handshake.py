"""SaslHandshake (17), v0-1: choose a mechanism, for the first time or again (KIP-368).

After v0 clients of before Kafka 1.0 send raw tokens, which are not understood: their connections are closed.
"""

from __future__ import annotations

from typing import Any

import kio.schema.sasl_handshake

from broker.errors import KafkaError
from broker.node import RequestContext
from broker.registry import OPEN, api, build
from broker.security.session import begin, offered


@api(schema=kio.schema.sasl_handshake, versions=range(2), asks=OPEN, before_authentication=True)
async def sasl_handshake(ctx: RequestContext, request: Any) -> Any:
    """The offered mechanisms come with every answer."""
    mechanisms = offered(ctx)
    try:
        begin(ctx, request.mechanism)
    except KafkaError as error:
        return build(ctx, error_code=error.code, mechanisms=mechanisms)
    return build(ctx, mechanisms=mechanisms)
