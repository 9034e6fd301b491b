// One topic: each of its partitions, and the groups that read it.

import { ofLink } from "../api.js";
import { h, name, put } from "../dom.js";
import { ago, age, count, many, short, time } from "../format.js";
import { figure, figures, heading, panel, trouble } from "../parts.js";
import { ownerOf } from "../lanes.js";
import { byTopic, keyOf, ratesOf } from "../partitions.js";
import { poll } from "../polling.js";
import { to } from "../router.js";
import { known, setBadge, stateBadge } from "../states.js";
import { table } from "../table.js";
import { positionsTable } from "./groups.js";

export function topicTab({ link, parts: [topic], signal }) {
  const wrong = trouble();
  const state = h("span");
  const as_of = h("span", { class: "soft small" });
  const numbers = { lag: figure("Lag"), behind: figure("Behind"), records: figure("Records/s"), partitions: figure("Partitions") };
  const shown = partitionsTable(link);
  const positions = positionsTable(link, { within: topic });
  poll(ofLink(link), { every: 1000, signal, failed: wrong.say }, (status, at) => {
    const mine = status.partitions.filter((row) => row.topic === topic);
    wrong.say(mine.length ? null : new Error(`Link ${link} copies no topic ${topic}, or no worker has seen it yet.`));
    const rates = ratesOf(link, status.partitions, at);
    const whole = byTopic(mine, rates).get(topic);
    if (whole) {
      setBadge(state, known(whole.state).word, known(whole.state).tone, whole.state.toLowerCase());
      numbers.lag.set(count(whole.lag), "records");
      numbers.behind.set(age(whole.lag_ms));
      numbers.records.set(short(whole.rate));
      numbers.partitions.set(count(whole.partitions));
    }
    shown.show(mine.map((row) => ({ ...row, rate: rates.get(keyOf(row)), worker: ownerOf(status, row).worker })));
    put(as_of, `${many(mine.length, "partition")}, as of ${time(at)}`);
  });
  poll(ofLink(link, "groups"), { every: 10_000, signal }, ({ groups }) => {
    const rows = groups.flatMap(({ group, positions: found }) => found.filter((row) => row.topic === topic).map((row) => ({ ...row, group })));
    positions.show(rows);
  });
  return h("div", {},
    heading(name(topic), state, h("span", { class: "stretch" }), as_of), wrong.element,
    figures(...Object.values(numbers)), shown.element,
    panel("Groups that read it", positions.element));
}

function partitionsTable(link) {
  const offset = (key, title) => ({ key, title, width: 105, number: true, text: (row) => count(row[key]), order: (row) => row[key] });
  return table({
    label: "Partitions", keyOf: (row) => String(row.partition), sort: { key: "partition", down: false }, empty: "No partitions.",
    columns: [
      {
        key: "partition", title: "Partition", width: 80, text: (row) => String(row.partition), order: (row) => row.partition,
        fill: (cell, row) => cell.replaceChildren(h("a", { href: to("links", link, "topics", row.topic, String(row.partition)) }, String(row.partition))),
      },
      {
        key: "state", title: "State", width: 105, text: (row) => row.state, order: (row) => known(row.state).rank,
        fill: (cell, row) => cell.replaceChildren(stateBadge(row.state)),
      },
      { key: "lag", title: "Lag", width: 90, number: true, text: (row) => count(row.lag), order: (row) => row.lag ?? -1 },
      { key: "lag_ms", title: "Behind", width: 80, number: true, text: (row) => age(row.lag_ms), order: (row) => row.lag_ms ?? -1 },
      { key: "rate", title: "Records/s", width: 90, number: true, text: (row) => short(row.rate), order: (row) => row.rate ?? -1 },
      offset("source_next", "Copied to"), offset("source_end", "Source ends"), offset("target_next", "Copy ends"),
      { key: "since", title: "Since", width: 80, number: true, text: (row) => ago(row.since), order: (row) => row.since ?? "" },
      { key: "worker", title: "Worker", width: 150, text: (row) => row.worker ?? "–" },
      { key: "why", title: "Why", width: 180, wide: true, text: (row) => [row.reason, row.detail].filter(Boolean).join(": ") },
    ],
  });
}
