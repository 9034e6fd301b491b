"""A small Kafka-compatible cluster in one process, for tests and demos; not for production.

Where to start reading, and where to add:
- `cluster.Cluster` is the whole: start it, stop and freeze its nodes, ask for elections; `faults` breaks requests;
- a request travels `node`, `connection`, `dispatch`, one file of `apis/`, then `topics`, `storage/` or a coordinator;
- an API is added as one file in `apis/` (see `registry`), a broker or topic property in `config_defs`;
- `storage/log.py` is a partition's log, `storage/validation.py` what is refused, `storage/producers.py` idempotence,
  `storage/compaction.py` and `storage/retention.py` what goes away by itself;
- `groups/` and `transactions/` are the coordinators, `cli.py` and `control.py` the program;
- `security/` is authentication and permissions: `security/access.py` is what every API asks.

Answers were compared with those of Kafka 4.1, case by case: see `tests/kafka`.
"""
