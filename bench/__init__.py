"""Replicator beside MirrorMaker 2 on real Kafka, on the same topics in one run: `python -m bench --help`."""
