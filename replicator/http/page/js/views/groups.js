// Consumer groups on both sides: where each is on the source, on the target, and where it belongs there.

import { ofLink } from "../api.js";
import { h, mark, name, put, refill } from "../dom.js";
import { count, many, time } from "../format.js";
import { filter, heading, panel, trouble } from "../parts.js";
import { poll } from "../polling.js";
import { to } from "../router.js";
import { setBadge } from "../states.js";
import { list, table } from "../table.js";

export function groupsTab({ link, parts: [only], query, signal }) {
  const wrong = trouble();
  const off = h("p", { class: "notice", hidden: true }, "sync.groups is false: positions are compared, and nothing is written.");
  const as_of = h("span", { class: "soft small" });
  const shown = positionsTable(link);
  const held = h("div");
  let rows = [];
  let at = 0;
  const search = filter("Filter by group, topic or state", query, () => refresh());
  function refresh() {
    const words = search.words();
    const chosen = rows.filter((row) => words.every((word) => `${row.group} ${row.topic} ${stateOf(row)[0]} ${row.why ?? ""}`.toLowerCase().includes(word)));
    shown.show(chosen);
    put(as_of, `${many(new Set(chosen.map((row) => row.group)).size, "group")}, ${many(chosen.length, "position")}${at ? `, as of ${time(at)}` : ""}`);
  }
  poll(ofLink(link, "groups", { group: only }), { every: 3000, signal, failed: wrong.say }, (found, when) => {
    wrong.say(null);
    at = when;
    mark(off, "hidden", found.synced);
    rows = found.groups.flatMap(({ group, positions }) => positions.map((row) => ({ ...row, group })));
    refresh();
    refill(held, JSON.stringify(found.held), () => found.held.length ? panel("Not kept in step", list({
      label: "Groups that aren't kept in step", rows: found.held,
      columns: [
        { title: "Group", show: (row) => name(row.group) }, { title: "Why", show: (row) => row.why },
        { title: "More", show: (row) => row.detail, kind: "long" },
      ],
    })) : null);
  });
  const title = only === undefined ? "Groups" : name(only);
  const back = only === undefined ? null : h("a", { href: to("links", link, "groups") }, "all groups");
  return h("div", { class: "fill" }, heading(title, back, search.element, h("span", { class: "stretch" }), as_of), wrong.element, off, shown.element, held);
}

/** What is to be said of a position: `[word, tone, drawing]`. */
function stateOf(row) {
  if (row.why) return [row.why.toLowerCase().replaceAll("_", " "), "warn", "faulted"];
  if (!row.synced) return ["to be written", "soft", "pending"];
  return [row.exact ? "exact" : `within ${count(row.error_bound)}`, "good", "good"];
}

/** A table of positions; `within` a topic it doesn't name the topic. */
export function positionsTable(link, { within = null } = {}) {
  const number = (key, title) => ({ key, title, width: 110, number: true, text: (row) => count(row[key]), order: (row) => row[key] ?? -1 });
  const group = {
    key: "group", title: "Group", width: 200, text: (row) => row.group,
    fill: (cell, row) => cell.replaceChildren(h("a", { href: to("links", link, "groups", row.group), title: row.group }, name(row.group))),
  };
  const place = within === null
    ? {
        key: "topic", title: "Topic", width: 200, text: (row) => `${row.topic}-${row.partition}`,
        fill: (cell, row) => cell.replaceChildren(h("a", { href: to("links", link, "topics", row.topic), title: row.topic }, name(`${row.topic}-${row.partition}`))),
      }
    : { key: "partition", title: "Partition", width: 90, number: true, text: (row) => String(row.partition), order: (row) => row.partition };
  return table({
    label: "Positions of groups on both sides", sort: { key: "group", down: false }, empty: "No group has a position in a topic that is copied.",
    keyOf: (row) => [row.group, row.topic, row.partition, row.target_topic].join("\u0000"),
    columns: [
      group, place, number("source_offset", "On the source"), number("lag", "Lag"), number("target_offset", "On the copy"),
      number("translated", "Belongs at"),
      {
        key: "state", title: "State", width: 150, text: (row) => stateOf(row)[0],
        fill: (cell, row) => {
          if (!cell.firstChild) cell.append(h("span"));
          setBadge(cell.firstChild, ...stateOf(row));
        },
      },
      { key: "detail", title: "Why", width: 220, wide: true, text: (row) => row.detail ?? "", fill: (cell, row) => { put(cell, row.detail); mark(cell, "title", row.detail || null); } },
    ],
  });
}
