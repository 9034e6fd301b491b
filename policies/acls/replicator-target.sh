#!/bin/sh
# What policies/replicator-target.json allows, as ACLs. Set BOOTSTRAP, PRINCIPAL (User:NAME), LINK, MOVED_GROUPS, SOURCE_ALIAS;
# admin.properties is how you log in.
set -eu

kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Create --operation Describe --operation DescribeConfigs --operation Read --operation Write --topic "__replicator_${LINK}_" --resource-pattern-type prefixed
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --operation Read --group "replicator.$LINK"
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --operation Write --transactional-id "replicator.$LINK." --resource-pattern-type prefixed
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation IdempotentWrite --cluster
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation DescribeConfigs --cluster
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Create --operation Describe --operation DescribeConfigs --operation Alter --operation AlterConfigs --operation Read --operation Write --topic "$SOURCE_ALIAS." --resource-pattern-type prefixed
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --operation Alter --cluster
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --operation Read --group "$MOVED_GROUPS"
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Create --operation Describe --operation Write --topic heartbeats
