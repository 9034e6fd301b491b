#!/bin/sh
# What policies/replicator-source.json allows, as ACLs. Set BOOTSTRAP, PRINCIPAL (User:NAME), MOVED_GROUPS, TOPICS;
# admin.properties is how you log in.
set -eu

kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --operation DescribeConfigs --operation Read --topic "$TOPICS"
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --group "$MOVED_GROUPS"
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --cluster
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Create --operation Describe --operation DescribeConfigs --operation Read --operation Write --topic heartbeats
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation IdempotentWrite --cluster
