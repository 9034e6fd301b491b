"""Where a connection stands in its authentication, kept in `ConnectionState.sasl`.

Raw tokens without SaslAuthenticate (after SaslHandshake v0, before Kafka 1.0) are not understood.
"""

from __future__ import annotations

from dataclasses import dataclass

from kio.schema.errors import ErrorCode

from broker.errors import CloseConnection, KafkaError
from broker.node import RequestContext
from broker.security.exchange import AuthenticationFailed, Exchange
from broker.security.sasl import SaslServer


@dataclass(slots=True)
class SaslSession:
    """The mechanism in use and the exchange that is under way."""

    mechanism: str
    exchange: Exchange | None


def sasl_server(ctx: RequestContext) -> SaslServer:
    """The cluster's SASL side. Raises KafkaError ILLEGAL_SASL_STATE on a listener without SASL."""
    server = ctx.cluster.sasl
    if not ctx.connection.listener.sasl or server is None:
        raise KafkaError(ErrorCode.illegal_sasl_state)
    return server


def offered(ctx: RequestContext) -> tuple[str, ...]:
    """The mechanisms of the listener that the client came through."""
    server, listener = ctx.cluster.sasl, ctx.connection.listener
    if server is None or not listener.sasl:
        return ()
    return server.mechanisms if listener.mechanisms is None else listener.mechanisms


def begin(ctx: RequestContext, mechanism: str) -> None:
    """Start an authentication, or (on a connection that has one) a re-authentication.

    Raises KafkaError UNSUPPORTED_SASL_MECHANISM; the connection closes after the answer.
    """
    server = sasl_server(ctx)
    former = ctx.connection.sasl
    if isinstance(former, SaslSession) and ctx.connection.authenticated and former.mechanism != mechanism:
        raise CloseConnection(f"re-authentication with {mechanism} after {former.mechanism}")
    try:
        if mechanism not in offered(ctx):
            raise KeyError(mechanism)
        names, host = ctx.node.names(ctx.connection.listener), ctx.connection.client_host
        exchange = server.begin(mechanism, names, host, ctx.cluster.scram)
    except KeyError:
        ctx.connection.close_after_response = True
        raise KafkaError(ErrorCode.unsupported_sasl_mechanism) from None
    ctx.connection.sasl = SaslSession(mechanism, exchange)


def step(ctx: RequestContext, message: bytes) -> tuple[bytes, int]:
    """Go on with the client's message; returns the answer and the session's lifetime in ms (0: no limit, or not yet).

    Raises KafkaError SASL_AUTHENTICATION_FAILED; the connection closes after the answer.
    """
    session = ctx.connection.sasl
    if not isinstance(session, SaslSession) or session.exchange is None:
        if ctx.connection.authenticated:
            raise KafkaError(
                ErrorCode.illegal_sasl_state, "SaslAuthenticate request received after successful authentication"
            )
        raise CloseConnection("SaslAuthenticate before SaslHandshake")
    again = ctx.connection.authenticated
    try:
        answer = session.exchange.step(message)
    except AuthenticationFailed:
        _count_failure(ctx)
        ctx.connection.close_after_response = True
        what = "re-authentication" if again else "authentication"
        raise KafkaError(
            ErrorCode.sasl_authentication_failed,
            f"Authentication failed during {what} due to invalid credentials with SASL mechanism {session.mechanism}",
        ) from None
    if not session.exchange.done:
        return answer, 0
    return answer, _finish(ctx, session, session.exchange, again=again)


def _finish(ctx: RequestContext, session: SaslSession, exchange: Exchange, *, again: bool) -> int:
    connection, principal = ctx.connection, f"User:{exchange.user}"
    session.exchange = None
    if again and principal != connection.principal:
        _count_failure(ctx)
        connection.close_after_response = True
        raise KafkaError(
            ErrorCode.sasl_authentication_failed,
            f"Cannot change principals during re-authentication from {connection.principal} to {principal}",
        )
    connection.principal = principal
    connection.authenticated = True
    ctx.node.counts.log_ins(connection.listener.name).succeeded.count += 1
    lifetime_ms = ctx.cluster.config.get_int("connections.max.reauth.ms")
    if exchange.expires is not None:  # as Kafka's SaslServerAuthenticator: whichever ends first
        left_ms = max(1, int(exchange.expires.timestamp() * 1000) - ctx.cluster.clock.now_ms())
        lifetime_ms = min(lifetime_ms, left_ms) if lifetime_ms > 0 else left_ms
    connection.session_expires_at = None
    if lifetime_ms > 0:
        connection.session_expires_at = ctx.cluster.clock.monotonic() + lifetime_ms / 1000
    return lifetime_ms


def _count_failure(ctx: RequestContext) -> None:
    ctx.cluster.failed_authentications += 1
    ctx.node.counts.log_ins(ctx.connection.listener.name).failed.count += 1
