#!/bin/sh
# What policies/consumer.json allows, as ACLs. Set BOOTSTRAP, PRINCIPAL (User:NAME), GROUP, SOURCE_ALIAS, TOPIC;
# admin.properties is how you log in.
set -eu

kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --operation Read --topic "$TOPIC"
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --operation Read --topic "$SOURCE_ALIAS.$TOPIC"
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --operation Read --group "$GROUP"
