"""The data plane's Kafka protocol: connections, record batch headers, and the few requests the hot path needs.

Everything is hand-coded against the protocol's schemas (Kafka's `clients/src/main/resources/common/message`), because
a client library would decode records or copy every byte several times. Nothing here knows links, lanes or ledgers.
"""
