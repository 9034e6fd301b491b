"""The web console of the local MSK: pages that call the same operations as the AWS SDKs do."""
