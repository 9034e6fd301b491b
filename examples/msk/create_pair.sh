#!/bin/bash
# Two clusters, the source's policy, and a replicator between them, with the AWS CLI. On a local MSK: set AWS_ENDPOINT_URL_KAFKA.
# Prints three ARNs. Without SERVICE_EXECUTION_ROLE no replicator is created.
set -euo pipefail
: "${SOURCE_REGION:=us-east-1}" "${TARGET_REGION:=eu-west-1}" "${KAFKA_VERSION:=3.6.0}" "${INSTANCE_TYPE:=kafka.m5.large}"
: "${SOURCE_SUBNETS:?subnets of the source, one for each zone, separated by blanks}"
: "${TARGET_SUBNETS:?subnets of the target, one for each zone, separated by blanks}"
: "${WAIT_S:=3600}" "${POLL_S:=10}"
export AWS_PAGER=""

json_list() { printf '"%s",' "$@" | sed 's/,$//; s/^/[/; s/$/]/'; }

create_cluster() { # name region subnets...
  local name=$1 region=$2
  shift 2
  aws kafka create-cluster-v2 --region "$region" --cluster-name "$name" --query ClusterArn --output text --provisioned '{
    "BrokerNodeGroupInfo": {"ClientSubnets": '"$(json_list "$@")"', "InstanceType": "'"$INSTANCE_TYPE"'"},
    "ClientAuthentication": {"Sasl": {"Iam": {"Enabled": true}}},
    "EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "TLS", "InCluster": true}},
    "KafkaVersion": "'"$KAFKA_VERSION"'",
    "NumberOfBrokerNodes": '$(($# == 2 ? 4 : $#))'
  }'
}

wait_until() { # wanted command...
  local wanted=$1 deadline=$((SECONDS + WAIT_S)) state
  shift
  until state=$("$@"); [ "$state" = "$wanted" ]; do
    [ "$state" != FAILED ] && [ $SECONDS -lt $deadline ] || { echo "still $state: $*" >&2; exit 1; }
    sleep "$POLL_S"
  done
}

describe() { # region arn query
  aws kafka describe-cluster-v2 --region "$1" --cluster-arn "$2" --query "ClusterInfo.$3" --output text
}

# shellcheck disable=SC2086 # the lists are split on purpose
source_arn=$(create_cluster orders-source "$SOURCE_REGION" $SOURCE_SUBNETS)
# shellcheck disable=SC2086
target_arn=$(create_cluster orders-target "$TARGET_REGION" $TARGET_SUBNETS)
wait_until ACTIVE describe "$SOURCE_REGION" "$source_arn" State
wait_until ACTIVE describe "$TARGET_REGION" "$target_arn" State

if [ "$SOURCE_REGION" != "$TARGET_REGION" ]; then # a source in another region needs multi-VPC connectivity
  aws kafka update-connectivity --region "$SOURCE_REGION" --cluster-arn "$source_arn" \
    --current-version "$(describe "$SOURCE_REGION" "$source_arn" CurrentVersion)" \
    --connectivity-info '{"VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": true}}}}}' >/dev/null
  wait_until ACTIVE describe "$SOURCE_REGION" "$source_arn" State
fi

aws kafka put-cluster-policy --region "$SOURCE_REGION" --cluster-arn "$source_arn" --policy '{
  "Version": "2012-10-17",
  "Statement": [{
    "Sid": "Replication", "Effect": "Allow", "Principal": {"Service": ["kafka.amazonaws.com"]},
    "Action": ["kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers", "kafka:DescribeClusterV2"],
    "Resource": "'"$source_arn"'"
  }]
}' >/dev/null
echo "$source_arn"
echo "$target_arn"

[ -n "${SERVICE_EXECUTION_ROLE:-}" ] || exit 0
# shellcheck disable=SC2086
replicator_arn=$(aws kafka create-replicator --region "$TARGET_REGION" --query ReplicatorArn --output text \
  --replicator-name orders-replicator --service-execution-role-arn "$SERVICE_EXECUTION_ROLE" \
  --kafka-clusters '[
    {"AmazonMskCluster": {"MskClusterArn": "'"$source_arn"'"}, "VpcConfig": {"SubnetIds": '"$(json_list $SOURCE_SUBNETS)"'}},
    {"AmazonMskCluster": {"MskClusterArn": "'"$target_arn"'"}, "VpcConfig": {"SubnetIds": '"$(json_list $TARGET_SUBNETS)"'}}
  ]' \
  --replication-info-list '[{
    "SourceKafkaClusterArn": "'"$source_arn"'", "TargetKafkaClusterArn": "'"$target_arn"'", "TargetCompressionType": "NONE",
    "TopicReplication": {
      "TopicsToReplicate": [".*"], "CopyTopicConfigurations": true, "CopyAccessControlListsForTopics": true,
      "DetectAndCopyNewTopics": true, "StartingPosition": {"Type": "EARLIEST"}
    },
    "ConsumerGroupReplication": {
      "ConsumerGroupsToReplicate": [".*"], "DetectAndCopyNewConsumerGroups": true, "SynchroniseConsumerGroupOffsets": true
    }
  }]')
wait_until RUNNING aws kafka describe-replicator --region "$TARGET_REGION" --replicator-arn "$replicator_arn" \
  --query ReplicatorState --output text
echo "$replicator_arn"
