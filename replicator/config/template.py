"""The commented file that `replicator init` writes. It loads as it is, and says what every setting is for."""

from __future__ import annotations

TEMPLATE = """\
# Replicator: which topics are copied from which Kafka cluster to which.
#
# ${NAME} and ${NAME:-default} are taken from the environment, {file: path} from a file, and
# {secretsmanager: NAME} from AWS Secrets Manager (for secrets).
# `replicator check` tells whether this file can be used; `replicator run` starts copying.

clusters:                                 # every cluster that a link names; the key is the cluster's alias
  us:
    bootstrap_servers: "localhost:9092"   # host:port, several separated by commas
  eu:
    bootstrap_servers: "localhost:9192"
    # security:
    #   protocol: SASL_SSL                # PLAINTEXT | SSL | SASL_PLAINTEXT | SASL_SSL
    #   mechanism: SCRAM-SHA-512          # PLAIN | SCRAM-SHA-256 | SCRAM-SHA-512 | AWS_MSK_IAM | OAUTHBEARER
    #   region: eu-west-1                 # AWS_MSK_IAM: where the brokers' names don't hold it; role_arn, profile
    #   token_endpoint: https://…         # OAUTHBEARER: with client_id, client_secret, scope
    #   username: replicator              # PLAIN and SCRAM
    #   password: ${EU_PASSWORD}          # or {file: /run/secrets/eu-password}
    #   ca_file: eu-ca.pem                # else the system's authorities; paths are relative to this file
    #   cert_file: client.pem             # mutual TLS
    #   key_file: client-key.pem
    # client_rack: eu-west-1a             # fetch from a replica in this rack, where the brokers offer it

links:                                    # one per direction
  - name: us-to-eu
    source: us
    target: eu
    topics:
      include: [".*"]                     # regular expressions for whole names; single quotes keep backslashes
      exclude: ['.*[\\-.]internal', '.*\\.replica', '__.*']   # exclude wins
      naming: prefix                      # prefix: orders becomes us.orders | identical: orders stays orders
      start: earliest                     # earliest | latest | a time such as 2026-01-01T00:00:00Z
    delivery: exactly_once                # | at_least_once: no transactions; a crash repeats the last second or so
    compression: source                   # source: as it is | none | gzip | snappy | lz4 | zstd
    lanes: 32                             # units of work shared by all workers; fixed once the link has started
    # placement: by_load                  # move hot partitions to lanes of less busy workers; fixed: never
    # bandwidth: 20 MiB                   # a second, read from the source by all workers; can change any time
    # replication_factor: 3               # of created topics; else the source's, at most the target's brokers
    # origins: native                     # identical names, each cluster with a link to each other: pass nothing on
    # separator: "."                      # between alias and topic name
    # groups:                             # consumer groups whose positions are kept in step
    #   include: [".*"]
    #   exclude: ["console-consumer-.*", "connect-.*", "__.*"]
    # delete_groups: true                 # delete the positions of a group that is gone on the source
    # delete_topics: true                 # delete the copy of a topic that was deleted
    # use_defaults_from: source           # where a topic has no setting of its own; target: the target's defaults hold
    # sync:
    #   every: 5                          # seconds between two looks at what differs beside the records
    #   configs: true                     # settings follow the source; false: only when a copy is created
    #   config_exclude: ['.*throttled.*'] # settings that are let be; else MirrorMaker 2's list
    #   groups: true                      # consumer groups continue at the next record; false: nothing is written
    #   acls: true                        # readers of a topic may read its copy; full: all ACLs as they are; false
    #   heartbeats: true                  # MirrorMaker 2's, every second, copied as <source>.heartbeats
    #   checkpoints: true                 # MirrorMaker 2's: groups' positions for RemoteClusterUtils.translateOffsets

service:
  http: "127.0.0.1:8080"                  # page, metrics and API; any other address than loopback needs a token
  # token: ${REPLICATOR_TOKEN}
  # cert_file: service.pem                # HTTPS
  # key_file: service-key.pem
  memory_bytes: 256 MiB                   # fetched and not yet acknowledged, per worker
  # cloudwatch: {region: us-east-1}       # MSK Replicator's metrics, under its names, in the namespace Replicator
  # log_delivery: {cloudwatch_logs: {log_group: /replicator/eu}}  # or log_file, firehose, s3
  # metrics_partitions: 20                # with thousands of partitions: lines of the 20 worst, and sums by topic
"""
