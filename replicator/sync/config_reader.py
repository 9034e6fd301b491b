"""The settings of many topics of one cluster, asked for every few seconds: what is unchanged isn't decoded again."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from replicator.sync.admin import ConfigSource, ConfigValue
from replicator.wire.cluster import ClusterClient
from replicator.wire.describe_configs import Described, SettingsDecoder, TopicSettings

CHUNK = 100  # topics per request: some 200 kB come back


class TopicConfigs:
    """One topic's settings, or the error code that stands for them. The same object as long as nothing changes."""

    __slots__ = ("error", "message", "values")

    def __init__(self, found: TopicSettings) -> None:
        self.error = found.error
        self.message = found.message
        self.values = {
            key: ConfigValue(value, _source(source), read_only, sensitive)
            for key, (value, source, read_only, sensitive) in found.settings.items()
        }


class ConfigReader:
    """Remembers the last answers of one cluster."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._decoder = SettingsDecoder()
        self._chunks: dict[tuple[str, ...], tuple[Described, dict[str, TopicConfigs]]] = {}
        self._made: dict[int, tuple[TopicSettings, TopicConfigs]] = {}  # by id of the former, which is kept alive

    @property
    def cluster(self) -> str:
        """The cluster's alias."""
        return self._client.alias

    async def read(self, topics: Collection[str]) -> Mapping[str, TopicConfigs]:
        """Each topic's settings. ReplicatorError if the cluster doesn't answer."""
        names = sorted(topics)
        found: dict[str, TopicConfigs] = {}
        chunks: dict[tuple[str, ...], tuple[Described, dict[str, TopicConfigs]]] = {}
        for first in range(0, len(names), CHUNK):
            chunk = tuple(names[first : first + CHUNK])
            known = self._chunks.get(chunk)
            connection = await self._client.any_connection()
            described = await self._decoder.describe(connection, chunk, None if known is None else known[0])
            if known is None or described is not known[0]:
                known = described, {name: self._converted(topic) for name, topic in described.topics.items()}
            chunks[chunk] = known
            found.update(known[1])
        self._chunks = chunks
        self._forget_unused()
        return found

    def _converted(self, topic: TopicSettings) -> TopicConfigs:
        made = self._made.get(id(topic))
        if made is None:
            made = self._made[id(topic)] = topic, TopicConfigs(topic)
        return made[1]

    def _forget_unused(self) -> None:
        used = {id(topic) for described, _ in self._chunks.values() for topic in described.topics.values()}
        if len(self._made) > 2 * len(used) + 100:
            self._made = {key: value for key, value in self._made.items() if key in used}


def _source(number: int) -> ConfigSource:
    return ConfigSource(number) if number in ConfigSource._value2member_map_ else ConfigSource.UNKNOWN
