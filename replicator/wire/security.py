"""TLS contexts from a cluster's `security:` settings."""

from __future__ import annotations

import ssl

from replicator.config.models import SecurityConfig
from replicator.errors import ConfigurationError


def tls_context(security: SecurityConfig) -> ssl.SSLContext | None:
    """A context that verifies the broker, with our certificate if one is set; None for plaintext protocols."""
    if security.protocol not in ("SSL", "SASL_SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
        context.check_hostname = security.verify_hostname
        # Python 3.13 asks of authorities what RFC 5280 does, and many a company's own authority doesn't have it (an
        # Authority Key Identifier). Kafka's Java clients and librdkafka don't ask.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if security.cert_file:
            password = security.key_password.get_secret_value() if security.key_password else None
            context.load_cert_chain(security.cert_file, security.key_file, password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"TLS material can't be loaded (ca_file {security.ca_file}, cert_file {security.cert_file}, "
            f"key_file {security.key_file}): {error}; check that the files exist, are PEM and readable"
        ) from error
    return context
