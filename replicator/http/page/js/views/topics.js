// The topics of a link, each with its lag, and the lag of the groups that read it.

import { ofLink } from "../api.js";
import { h, mark, name, put } from "../dom.js";
import { age, count, many, short, time } from "../format.js";
import { filter, heading, trouble } from "../parts.js";
import { byTopic, ratesOf } from "../partitions.js";
import { poll } from "../polling.js";
import { setQuery, to } from "../router.js";
import { known, stateBadge } from "../states.js";
import { table } from "../table.js";

const SLOW_MS = 15_000; // for what is costly to find out and seldom changes
const GROUPS_SHOWN = 2;

export function topicsTab({ link, query, signal }) {
  const wrong = trouble();
  const as_of = h("span", { class: "soft small" });
  const shown = topicsTable(link);
  let [status, at, planned, groups] = [null, 0, new Map(), new Map()];
  const search = filter("Filter by topic, state or reason", query, () => refresh());
  const others = h("input", { type: "checkbox", checked: query.get("all") === "1" });
  others.addEventListener("change", () => {
    setQuery("all", others.checked ? "1" : "");
    refresh();
  });

  function refresh() {
    if (!status) return;
    const topics = byTopic(status.partitions, ratesOf(link, status.partitions, at));
    const rows = [...topics.values()].map((row) => ({ ...row, plan: planned.get(row.topic), groups: groups.get(row.topic) ?? [] }));
    for (const plan of planned.values()) {
      if (!topics.has(plan.topic) && (others.checked || plan.selected)) rows.push(notCopied(plan));
    }
    const words = search.words();
    const chosen = words.length ? rows.filter((row) => matches(row, words)) : rows;
    shown.show(chosen);
    put(as_of, `${chosen.length === rows.length ? "" : `${count(chosen.length)} of `}${many(rows.length, "topic")}, as of ${time(at)}`);
  }

  poll(ofLink(link), { every: 1000, signal, failed: wrong.say }, (found, when) => {
    wrong.say(null);
    [status, at] = [found, when];
    refresh();
  });
  poll(ofLink(link, "topics"), { every: SLOW_MS, signal }, ({ topics }) => {
    planned = new Map(topics.map((row) => [row.topic, row]));
    refresh();
  });
  poll(ofLink(link, "groups"), { every: SLOW_MS, signal }, (found) => {
    groups = lagsByTopic(found.groups);
    refresh();
  });
  return h("div", { class: "fill" },
    heading("Topics", search.element, h("label", { class: "check" }, others, "also those that aren't copied"), h("span", { class: "stretch" }), as_of),
    wrong.element, shown.element);
}

function matches(row, words) {
  const text = `${row.topic} ${known(row.state).word} ${row.state} ${row.why} ${row.groups.map((each) => each.group).join(" ")}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function notCopied(plan) {
  const why = [plan.reason, plan.detail].filter(Boolean).join(": ");
  const state = plan.reason ? "FAULTED" : plan.selected ? "PENDING" : null;
  return { topic: plan.topic, partitions: plan.partitions, states: {}, state, lag: null, lag_ms: null, rate: null, why, plan, groups: [] };
}

/** topic -> `[{group, lag}]`, the furthest behind first. */
function lagsByTopic(groups) {
  const found = new Map();
  for (const { group, positions } of groups) {
    const lags = new Map();
    for (const row of positions) lags.set(row.topic, (lags.get(row.topic) ?? 0) + (row.lag ?? 0));
    for (const [topic, lag] of lags) found.set(topic, [...(found.get(topic) ?? []), { group, lag }]);
  }
  for (const all of found.values()) all.sort((one, other) => other.lag - one.lag);
  return found;
}

function groupsText(row) {
  const first = row.groups.slice(0, GROUPS_SHOWN).map((each) => `${each.group} ${short(each.lag)}`);
  const more = row.groups.length - first.length;
  return [...first, ...(more > 0 ? [`+${more}`] : [])].join(" · ");
}

function copyOf(cell, remote) {
  cell.replaceChildren(name(remote ?? "–"));
  mark(cell, "title", remote);
}

function topicsTable(link) {
  return table({
    label: "Topics", keyOf: (row) => row.topic, sort: { key: "lag", down: true }, empty: "No topic matches.",
    columns: [
      {
        key: "topic", title: "Topic", width: 200, text: (row) => row.topic,
        fill: (cell, row) => cell.replaceChildren(h("a", { href: to("links", link, "topics", row.topic), title: row.topic }, name(row.topic))),
      },
      {
        key: "state", title: "State", width: 110, text: (row) => row.state ?? "", order: (row) => known(row.state).rank,
        fill: (cell, row) => cell.replaceChildren(row.state ? stateBadge(row.state) : "not copied"),
      },
      { key: "lag", title: "Lag", width: 85, number: true, text: (row) => count(row.lag), order: (row) => row.lag ?? -1 },
      { key: "lag_ms", title: "Behind", width: 80, number: true, text: (row) => age(row.lag_ms), order: (row) => row.lag_ms ?? -1 },
      { key: "rate", title: "Records/s", width: 90, number: true, text: (row) => short(row.rate), order: (row) => row.rate ?? -1 },
      { key: "partitions", title: "Parts", width: 60, number: true, text: (row) => count(row.partitions), order: (row) => row.partitions ?? -1 },
      {
        key: "groups", title: "Groups, with their lag", width: 270, text: groupsText, order: (row) => row.groups[0]?.lag ?? -1, number: false,
        fill: (cell, row) => {
          put(cell, groupsText(row));
          mark(cell, "title", row.groups.map((each) => `${each.group}: ${count(each.lag)}`).join("\n") || null);
        },
      },
      { key: "copy", title: "Copy", width: 130, text: (row) => row.plan?.remote ?? "–", fill: (cell, row) => copyOf(cell, row.plan?.remote) },
      {
        key: "why", title: "Why", width: 150, wide: true, text: (row) => row.why,
        fill: (cell, row) => {
          put(cell, row.why);
          mark(cell, "title", row.why || null);
        },
      },
    ],
  });
}

