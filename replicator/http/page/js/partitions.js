// What a link's status says of its partitions, brought together by topic, with rates between two looks.

import { worst } from "./states.js";

const LONG_AGO_MS = 60_000;
const looks = new Map(); // link -> {at, next: Map(key -> offset), rates: Map(key -> records/s)}

export const keyOf = (row) => `${row.topic}\u0000${row.partition}`;

/** Records per second of each partition since the look before; call it with every status. */
export function ratesOf(link, partitions, at) {
  const before = looks.get(link);
  if (before?.at === at) return before.rates;
  const next = new Map();
  const rates = new Map();
  const seconds = before && at - before.at < LONG_AGO_MS ? (at - before.at) / 1000 : 0;
  for (const row of partitions) {
    const key = keyOf(row);
    next.set(key, row.source_next);
    const last = before?.next.get(key);
    if (seconds > 0 && last >= 0 && row.source_next >= last) rates.set(key, (row.source_next - last) / seconds);
  }
  if (seconds === 0 || seconds >= 0.5) looks.set(link, { at, next, rates });
  return rates;
}

/** One row for each topic: `{topic, partitions, states, state, lag, lag_ms, rate, faulted}`. */
export function byTopic(partitions, rates) {
  const topics = new Map();
  for (const row of partitions) {
    let found = topics.get(row.topic);
    if (!found) {
      found = { topic: row.topic, partitions: 0, states: {}, lag: null, lag_ms: null, rate: null, why: "" };
      topics.set(row.topic, found);
    }
    found.partitions += 1;
    found.states[row.state] = (found.states[row.state] ?? 0) + 1;
    found.lag = add(found.lag, row.lag);
    if (row.lag_ms !== null) found.lag_ms = Math.max(found.lag_ms ?? 0, row.lag_ms);
    found.rate = add(found.rate, rates.get(keyOf(row)));
    if (!found.why && row.state !== "COPYING") found.why = [row.reason, row.detail].filter(Boolean).join(": ");
  }
  for (const found of topics.values()) found.state = worst(Object.keys(found.states));
  return topics;
}

function add(sum, value) {
  return value === null || value === undefined ? sum : (sum ?? 0) + value;
}
