"""Fixtures of these tests."""

from tests.support.aws import aws, moto_url, no_aws

__all__ = ["aws", "moto_url", "no_aws"]
