from __future__ import annotations

from replicator.config.models import CONFIG_EXCLUDE
from replicator.sync.admin import ConfigSource, ConfigValue
from replicator.sync.configs import Rules, desired, differences
from tests.sync.fake_admin import DEFAULTS, config

RULES = Rules(CONFIG_EXCLUDE)
FOREVER = str((1 << 63) - 1)
TARGET = {key: config(value, ConfigSource.DEFAULT) for key, value in DEFAULTS.items()}
SOURCE = dict(TARGET)


def test_given_settings_of_the_topic_when_created_then_they_and_dynamic_ones_are_copied_without_defaults() -> None:
    source = SOURCE | {
        "cleanup.policy": config("compact"),
        "retention.ms": config("1000", ConfigSource.DYNAMIC_DEFAULT_BROKER),
        "segment.bytes": config("99", ConfigSource.STATIC_BROKER),
    }
    settings = desired(source, TARGET, RULES, replication_factor=1).settings
    assert settings["cleanup.policy"] == "compact"
    assert settings["retention.ms"] == "1000"
    assert "segment.bytes" not in settings
    assert "compression.type" not in settings


def test_given_mm2s_excluded_settings_when_created_then_they_are_left_out() -> None:
    source = SOURCE | {
        "leader.replication.throttled.replicas": config("*"),
        "follower.replication.throttled.replicas": config("*"),
        "unclean.leader.election.enable": config("true"),
        "message.timestamp.type": config("LogAppendTime"),
        "message.timestamp.difference.max.ms": config("5"),
        "remote.storage.enable": config("true"),
        "local.retention.ms": config("5"),
    }
    known = TARGET | {key: config("x", ConfigSource.DEFAULT) for key in source if key not in TARGET}
    wanted = desired(source, known, RULES, replication_factor=1)
    assert wanted.settings == {"message.timestamp.after.max.ms": FOREVER}
    assert wanted.unsupported == {}


def test_given_any_topic_when_created_then_old_and_future_records_and_the_largest_batch_fit() -> None:
    source = SOURCE | {
        "message.timestamp.before.max.ms": config("10"),
        "max.message.bytes": config("9000000", ConfigSource.STATIC_BROKER),
    }
    target = TARGET | {
        "message.timestamp.before.max.ms": config("500", ConfigSource.STATIC_BROKER),
        "message.timestamp.type": config("LogAppendTime", ConfigSource.STATIC_BROKER),
    }
    assert desired(source, target, RULES, replication_factor=1).settings == {
        "message.timestamp.before.max.ms": FOREVER,
        "message.timestamp.after.max.ms": FOREVER,
        "message.timestamp.type": "CreateTime",
        "max.message.bytes": "9000000",
    }


def test_given_a_target_before_kafka_3_6_when_created_then_its_only_time_limit_is_lifted() -> None:
    target = {key: value for key, value in TARGET.items() if "after.max" not in key and "before.max" not in key}
    target["message.timestamp.difference.max.ms"] = config("7", ConfigSource.STATIC_BROKER)
    assert desired(SOURCE, target, RULES, replication_factor=1).settings == {
        "message.timestamp.difference.max.ms": FOREVER
    }


def test_given_min_insync_replicas_when_created_then_it_is_never_weakened_and_never_above_the_replicas() -> None:
    def min_insync(source: str, target_default: str, replication_factor: int) -> str | None:
        ours = SOURCE | {"min.insync.replicas": config(source)}
        theirs = TARGET | {"min.insync.replicas": config(target_default, ConfigSource.STATIC_BROKER)}
        settings = desired(ours, theirs, RULES, replication_factor=replication_factor).settings
        return settings.get("min.insync.replicas")

    assert min_insync("2", "1", 3) == "2"
    assert min_insync("3", "1", 2) == "2"
    assert min_insync("1", "2", 3) is None
    assert min_insync("2", "1", 1) is None


def test_given_a_setting_unknown_to_the_target_when_created_then_it_is_left_out_and_named() -> None:
    wanted = desired(SOURCE | {"vendor.tier": config("gold")}, TARGET, RULES, replication_factor=1)
    assert "vendor.tier" not in wanted.settings
    assert wanted.unsupported == {"vendor.tier": "gold"}
    blind = desired(SOURCE | {"vendor.tier": config("gold")}, None, RULES, replication_factor=1)
    assert blind.settings == {"vendor.tier": "gold"}


def test_given_read_only_and_secret_settings_and_a_compression_of_the_link_when_created_then_they_are_left_out() -> (
    None
):
    source = SOURCE | {
        "retention.ms": ConfigValue("1", ConfigSource.TOPIC, read_only=True),
        "segment.bytes": ConfigValue(None, ConfigSource.TOPIC, sensitive=True),
        "compression.type": config("gzip"),
    }
    settings = desired(source, TARGET, Rules(CONFIG_EXCLUDE, recompressed=True), replication_factor=1).settings
    assert settings.keys() == {"message.timestamp.after.max.ms"}
    assert desired(source, TARGET, RULES, replication_factor=1).settings["compression.type"] == "gzip"


OWN_OF_A_COPY = {
    "message.timestamp.after.max.ms": config(FOREVER),
    "message.timestamp.before.max.ms": config(FOREVER),
}
COPY = TARGET | OWN_OF_A_COPY


def changed(source: dict[str, ConfigValue], target: dict[str, ConfigValue], rules: Rules = RULES) -> object:
    return differences(SOURCE | source, COPY | target, rules).settings


def test_given_a_copy_in_step_when_compared_then_nothing_is_to_be_done() -> None:
    assert changed({}, {}) == {}
    assert changed({"retention.ms": config("5")}, {"retention.ms": config("5")}) == {}


def test_given_a_changed_source_or_a_changed_copy_when_compared_then_the_source_counts() -> None:
    assert changed({"retention.ms": config("5")}, {}) == {"retention.ms": "5"}
    assert changed({"retention.ms": config("5")}, {"retention.ms": config("7")}) == {"retention.ms": "5"}
    same_by_default = config("5", ConfigSource.STATIC_BROKER)
    assert changed({"retention.ms": config("5")}, {"retention.ms": same_by_default}) == {"retention.ms": "5"}


def test_given_a_default_of_the_source_when_compared_then_the_targets_default_holds_or_the_sources_as_configured() -> (
    None
):
    overridden = {"retention.ms": config("7"), "unclean.leader.election.enable": config("true")}
    assert changed({}, overridden) == {"retention.ms": None}
    from_source = Rules(CONFIG_EXCLUDE, source_defaults=True)
    assert changed({}, overridden, from_source) == {"retention.ms": DEFAULTS["retention.ms"]}
    assert changed({}, {}, from_source) == {}
    static = {"segment.bytes": config("99", ConfigSource.STATIC_BROKER)}
    assert changed(static, {}, from_source) == {"segment.bytes": "99"}
    assert changed(static, {}) == {}


def test_given_excluded_settings_when_compared_then_they_are_let_be_on_both_sides() -> None:
    rules = Rules(("delete\\.retention\\.ms", "retention\\..*"))
    assert changed({"retention.ms": config("5")}, {}, rules) == {}
    assert changed({}, {"retention.ms": config("5")}, rules) == {}
    assert changed({"retention.ms": config("5")}, {}, Rules(())) == {"retention.ms": "5"}


def test_given_a_copy_that_would_refuse_or_restamp_records_when_compared_then_that_is_corrected() -> None:
    drifted = {
        "message.timestamp.before.max.ms": config("5"),
        "message.timestamp.type": config("LogAppendTime"),
        "max.message.bytes": config("5"),
    }
    assert changed({"message.timestamp.type": config("LogAppendTime")}, drifted) == {
        "message.timestamp.before.max.ms": FOREVER,
        "message.timestamp.type": "CreateTime",
        "max.message.bytes": DEFAULTS["max.message.bytes"],
    }


def test_given_a_copy_that_takes_larger_batches_when_compared_then_its_limit_is_never_lowered() -> None:
    assert changed({"max.message.bytes": config("5")}, {"max.message.bytes": config("7")}) == {}
    assert changed({"max.message.bytes": config("9000000")}, {}) == {"max.message.bytes": "9000000"}


def test_given_min_insync_replicas_when_compared_then_only_a_stricter_source_of_its_own_counts() -> None:
    def asked(source: ConfigValue, target: str) -> int | None:
        ours, theirs = SOURCE | {"min.insync.replicas": source}, COPY | {"min.insync.replicas": config(target)}
        found = differences(ours, theirs, RULES)
        assert "min.insync.replicas" not in found.settings
        return found.min_insync

    assert asked(config("2"), "1") == 2
    assert asked(config("2"), "2") is None
    assert asked(config("1"), "2") is None
    assert asked(config("2", ConfigSource.STATIC_BROKER), "1") is None


def test_given_a_setting_unknown_to_the_target_when_compared_then_it_is_named_and_a_default_isnt() -> None:
    source = {"vendor.tier": config("gold"), "vendor.other": config("1", ConfigSource.DEFAULT)}
    assert differences(SOURCE | source, COPY, RULES).unsupported == {"vendor.tier": "gold"}
    assert differences(SOURCE | source, COPY, Rules(("vendor.*",))).unsupported == {}
