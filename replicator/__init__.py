"""Replicator: copies topics between Kafka clusters, continuously and exactly."""

__version__ = "0.1.0"
