#!/bin/sh
# What policies/producer.json allows, as ACLs. Set BOOTSTRAP, PRINCIPAL (User:NAME), TOPIC;
# admin.properties is how you log in.
set -eu

kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --operation Write --topic "$TOPIC"
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation IdempotentWrite --cluster
