"""Why a property of MirrorMaker 2, Connect or Kafka's clients has no place in this program's configuration."""

from __future__ import annotations

import re

_CLIENT = (
    "tuning of MirrorMaker's clients; batches are passed through as they are here, within service.memory_bytes, and no "
    "setting is needed"
)
_REASONS: tuple[tuple[str, str], ...] = (
    (r"tasks\.max", "work is divided into `lanes`, over as many workers as you start; see also --workers"),
    (r"(transforms|predicates)(\..*)?", "records are copied as they are: transformations aren't supported"),
    (r"offset\.lag\.max|emit\.offset-syncs\.enabled", "positions are translated exactly: there are no offset syncs"),
    (r"offset-syncs\.topic\..*", "positions are translated exactly: no offset-syncs topic is written"),
    (
        r"(checkpoints|heartbeats)\.topic\.replication\.factor",
        "the link's replication_factor, else 3 (or as many brokers as there are), counts for internal topics too",
    ),
    (
        r"(refresh\.topics|refresh\.groups|sync\.topic\.configs|sync\.topic\.acls|emit\.checkpoints|sync\.group\.offsets)"
        r"\.interval\.seconds",
        "everything is kept in step every `sync.every` seconds; the default of 5 is sooner than this",
    ),
    (r"emit\.heartbeats\.interval\.seconds", "heartbeats are sent every second"),
    (r"consumer\.poll\.timeout\.ms|admin\.timeout\.ms", "timeouts of our own hold"),
    (r"forwarding\.admin\.class", "Java classes can't be used; topics are created through Kafka's own API"),
    (
        r"(topic|group|config\.property)\.filter\.class",
        "Java classes can't be used: say what is selected by include and exclude",
    ),
    (
        r"errors\..*",
        "a record that can't be written stops its partition, with a reason in `status`; nothing is dropped",
    ),
    (r"(metric|metrics)\..*|auto\.include\.jmx\.reporter", "metrics are served at /metrics, for Prometheus"),
    (r"(key|value|header)\.converter(\..*)?|header\.converter", "records are copied as bytes"),
    (r"(offset|status|config)\.storage\..*", "Connect's own topics aren't used; state is in the link's ledger topic"),
    (r"offset\.flush\..*|offsets\.storage\.topic", "positions are written with the records"),
    (
        r"(group\.id|client\.id|worker\..*|task\..*|scheduled\.rebalance\..*|rebalance\.timeout\.ms"
        r"|session\.timeout\.ms|heartbeat\.interval\.ms|connect\.protocol|plugin\.(path|discovery)|name|connector\.class"
        r"|topic\.creation\..*|exactly\.once\.support|transaction\.boundary.*|inter\.worker\..*)",
        "belongs to Kafka Connect, which isn't used",
    ),
    (
        r"(dedicated\.mode\..*|listeners.*|rest\..*|admin\.listeners.*|access\.control\..*|response\.http\..*)",
        "belongs to Connect's REST server; ours is `service.http`",
    ),
    (
        r"ssl\.(protocol|enabled\.protocols|cipher\.suites|provider|engine\.factory\.class|secure\.random.*"
        r"|keymanager\.algorithm|trustmanager\.algorithm)|security\.providers",
        "TLS is that of OpenSSL, with its defaults",
    ),
    (
        r"sasl\.(client\.callback\.handler\.class|login\.class|login\.callback\.handler\.class|login\..*"
        r"|kerberos\..*|oauthbearer\..*)",
        "Java's login classes can't be used; see the cluster's `security`",
    ),
    (
        r"((admin|consumer|producer)\.)?(sasl|ssl|security)\..*",
        "a cluster has one connection setting, for all purposes",
    ),
    (r"consumer\.isolation\.level", "only committed records are ever copied"),
    (r"(consumer|producer|admin)\..*|producer\.override\..*", _CLIENT),
    (
        r"(client|request|connections|reconnect|retry|socket|send|receive|metadata|retries|default\.api|bootstrap\.contr)"
        r".*|enable\.metrics\.push",
        _CLIENT,
    ),
    (r"config\.providers(\..*)?", "${NAME} and {file: path} take their place"),
)


def reason(name: str) -> str | None:
    """Why the property of this name (without flow or cluster) isn't carried over; None for one that nobody knows."""
    for pattern, why in _REASONS:
        if re.fullmatch(pattern, name):
            return why
    return None
