// What stands still and waits, by reason, each with the command that comes next.

import { ofLink } from "../api.js";
import { h, name, put, refill } from "../dom.js";
import { ago, count, many, moment, time } from "../format.js";
import { command, heading, panel, prose, trouble } from "../parts.js";
import { poll } from "../polling.js";
import { nextCommands } from "../nextsteps.js";
import { to } from "../router.js";
import { badge } from "../states.js";
import { list } from "../table.js";

const SHOWN = 100;

export function faultsTab({ link, signal }) {
  const wrong = trouble();
  const body = h("div", { class: "faults" }, h("p", { class: "empty" }, "Asking…"));
  const as_of = h("span", { class: "soft small" });
  poll(ofLink(link), { every: 2000, signal, failed: wrong.say }, (status, at) => {
    wrong.say(null);
    const rows = status.partitions.filter((row) => row.state === "FAULTED");
    put(as_of, `${many(rows.length, "partition")} faulted, as of ${time(at)}`);
    const syncs = status.syncs ?? [];
    refill(body, JSON.stringify([rows.map((row) => [row.topic, row.partition, row.reason, row.since, row.detail]), syncs, status.source_error]), () => {
      const shown = [...byReason(rows).entries()].map(([reason, all]) => ofReason(link, reason, all));
      const beside = syncs.map(ofSync);
      const source = status.source_error ? h("p", { class: "notice bad" }, `${status.source}: ${status.source_error}`) : null;
      const fine = !shown.length && !source;
      return [source, ...shown, fine && h("p", { class: "notice good" }, badge("Nothing is faulted", "good", "good")), ...beside];
    });
  });
  return h("div", {}, heading("Faults", h("span", { class: "stretch" }), as_of), wrong.element, body);
}

function byReason(rows) {
  const found = new Map();
  for (const row of rows) found.set(row.reason, [...(found.get(row.reason) ?? []), row]);
  return found;
}

function ofReason(link, reason, rows) {
  const commands = [...new Set(rows.slice(0, SHOWN).flatMap((row) => nextCommands(link, row)))];
  const [first, ...others] = commands;
  const more = others.length ? h("details", {}, h("summary", {}, many(others.length, "more command")), others.map(command)) : null;
  return h("section", { class: "panel fault" },
    h("header", {}, h("h3", {}, badge(reason ?? "UNKNOWN", "bad", "faulted")), h("span", { class: "soft" }, many(rows.length, "partition"))),
    h("p", {}, h("b", {}, "Next: "), prose(rows[0].next_step || "see the detail.")),
    first && command(first), more,
    list({
      label: `Partitions with ${reason}`, rows, most: SHOWN,
      columns: [
        { title: "Partition", show: (row) => h("a", { href: to("links", link, "topics", row.topic, String(row.partition)) }, name(`${row.topic}-${row.partition}`)), kind: "where" },
        { title: "Since", show: (row) => (row.since ? `${moment(row.since)} (${ago(row.since)})` : "–") },
        { title: "Detail", show: (row) => row.detail || "–", kind: "long" },
      ],
    }));
}

function ofSync(sync) {
  const rest = sync.count - sync.held.length;
  return panel(`Out of step: ${sync.syncer}`,
    h("p", { class: "soft" }, sync.error ? `Can't be compared since ${moment(sync.since)}: ${sync.error}` : `${many(sync.count, "difference")} since ${moment(sync.since)}`),
    sync.held.length ? list({
      label: `Differences of ${sync.syncer}`, rows: sync.held, most: SHOWN,
      columns: [
        { title: "Resource", show: (row) => name(row.resource) }, { title: "Why", show: (row) => row.why },
        { title: "Detail", show: (row) => h("span", {}, prose(row.detail)), kind: "long" },
      ],
    }) : null,
    rest > 0 ? h("p", { class: "more" }, `${count(rest)} more`) : null);
}
