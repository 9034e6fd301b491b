#!/bin/sh
# What policies/operator-on-cluster.json allows, as ACLs. Set BOOTSTRAP, PRINCIPAL (User:NAME);
# admin.properties is how you log in.
set -eu

kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --operation Alter --operation DescribeConfigs --operation AlterConfigs --cluster
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Create --operation Describe --operation Alter --operation Delete --operation DescribeConfigs --operation AlterConfigs --operation Read --operation Write --topic '*'
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation Describe --operation Read --operation Delete --group '*'
kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config admin.properties --add --allow-principal "$PRINCIPAL" --operation IdempotentWrite --cluster
