"""Two MSK clusters and a replicator between them, with boto3, the AWS CLI, Terraform and CloudFormation."""
