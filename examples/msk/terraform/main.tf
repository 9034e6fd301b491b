# Two MSK clusters and a replicator between them. The provider is AWS's own (hashicorp/aws).
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.70"
    }
  }
}

variable "source_subnets" { type = list(string) }
variable "target_subnets" { type = list(string) }
variable "source_security_groups" { type = list(string) }
variable "target_security_groups" { type = list(string) }
variable "service_execution_role_arn" { type = string }

provider "aws" {
  alias  = "source"
  region = "us-east-1"
}

provider "aws" {
  alias  = "target"
  region = "eu-west-1"
}

resource "aws_msk_cluster" "source" {
  provider               = aws.source
  cluster_name           = "orders-source"
  kafka_version          = "3.6.0"
  number_of_broker_nodes = length(var.source_subnets) == 2 ? 4 : length(var.source_subnets)

  broker_node_group_info {
    client_subnets  = var.source_subnets
    instance_type   = "kafka.m5.large"
    security_groups = var.source_security_groups

    connectivity_info {
      vpc_connectivity {
        client_authentication {
          sasl {
            iam = true
          }
        }
      }
    }
  }

  client_authentication {
    sasl {
      iam = true
    }
  }

  encryption_info {
    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }
}

resource "aws_msk_cluster" "target" {
  provider               = aws.target
  cluster_name           = "orders-target"
  kafka_version          = "3.6.0"
  number_of_broker_nodes = length(var.target_subnets) == 2 ? 4 : length(var.target_subnets)

  broker_node_group_info {
    client_subnets  = var.target_subnets
    instance_type   = "kafka.m5.large"
    security_groups = var.target_security_groups
  }

  client_authentication {
    sasl {
      iam = true
    }
  }

  encryption_info {
    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }
}

resource "aws_msk_cluster_policy" "source" {
  provider    = aws.source
  cluster_arn = aws_msk_cluster.source.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Replication"
      Effect    = "Allow"
      Principal = { Service = ["kafka.amazonaws.com"] }
      Action    = ["kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers", "kafka:DescribeClusterV2"]
      Resource  = aws_msk_cluster.source.arn
    }]
  })
}

resource "aws_msk_replicator" "orders" {
  provider                   = aws.target
  replicator_name            = "orders-replicator"
  service_execution_role_arn = var.service_execution_role_arn
  depends_on                 = [aws_msk_cluster_policy.source]

  kafka_cluster {
    amazon_msk_cluster {
      msk_cluster_arn = aws_msk_cluster.source.arn
    }
    vpc_config {
      subnet_ids          = var.source_subnets
      security_groups_ids = var.source_security_groups
    }
  }

  kafka_cluster {
    amazon_msk_cluster {
      msk_cluster_arn = aws_msk_cluster.target.arn
    }
    vpc_config {
      subnet_ids          = var.target_subnets
      security_groups_ids = var.target_security_groups
    }
  }

  replication_info_list {
    source_kafka_cluster_arn = aws_msk_cluster.source.arn
    target_kafka_cluster_arn = aws_msk_cluster.target.arn
    target_compression_type  = "NONE"

    topic_replication {
      topics_to_replicate                  = [".*"]
      copy_topic_configurations            = true
      copy_access_control_lists_for_topics = true
      detect_and_copy_new_topics           = true

      starting_position {
        type = "EARLIEST"
      }
    }

    consumer_group_replication {
      consumer_groups_to_replicate        = [".*"]
      detect_and_copy_new_consumer_groups = true
      synchronise_consumer_group_offsets  = true
    }
  }
}

output "replicator_arn" {
  value = aws_msk_replicator.orders.arn
}
