"""What MirrorMaker 2 calls its topics (`DefaultReplicationPolicy`, `MirrorMakerConfig`)."""

from __future__ import annotations

HEARTBEATS = "heartbeats"
SOURCE_CONNECTOR = "MirrorSourceConnector"  # the name under which a dedicated MirrorMaker stores positions


def checkpoints_topic(source: str, separator: str = ".") -> str:
    """On the target: the positions of the source's groups (`DefaultReplicationPolicy.checkpointsTopic`)."""
    return f"{source}{separator}checkpoints{separator}internal"


def offset_syncs_topic(alias: str, separator: str = ".") -> str:
    """`alias` is that of the cluster that doesn't hold the topic (`DefaultReplicationPolicy.offsetSyncsTopic`)."""
    return f"mm2-offset-syncs{separator}{alias}{separator}internal"


def stored_positions_topic(source: str) -> str:
    """On the target: Connect's offsets topic of a dedicated MirrorMaker."""
    return f"mm2-offsets.{source}.internal"


def connect_group(source: str) -> str:
    """On the target: the group of a dedicated MirrorMaker's Connect workers."""
    return f"{source}-mm2"


def is_heartbeats(topic: str, separator: str = ".") -> bool:
    """Whether it is a heartbeats topic or a copy of one (`ReplicationPolicy.isHeartbeatsTopic`)."""
    return topic.split(separator)[-1] == HEARTBEATS
