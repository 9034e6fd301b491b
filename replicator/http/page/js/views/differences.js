// Settings, ACLs, partitions and topics that aren't the same on both sides: what will be changed, and what can't be.

import { ofLink } from "../api.js";
import { h, name, put, refill } from "../dom.js";
import { many, time } from "../format.js";
import { filter, heading, panel, prose, trouble } from "../parts.js";
import { poll } from "../polling.js";
import { badge } from "../states.js";
import { list } from "../table.js";

export function differencesTab({ link, query, signal }) {
  const wrong = trouble();
  const body = h("div", {}, h("p", { class: "empty" }, "Comparing both clusters…"));
  const as_of = h("span", { class: "soft small" });
  let found = null;
  const search = filter("Filter by kind, resource or text", query, () => refresh());
  function refresh() {
    if (!found) return;
    const words = search.words();
    const matches = (row) => words.every((word) => Object.values(row).join(" ").toLowerCase().includes(word));
    const [changes, held] = [found.changes.filter(matches), found.held.filter(matches)];
    refill(body, JSON.stringify([changes, held]), () => [
      panel(`To be changed on ${found.target}`, changesList(changes)),
      panel("Can't be kept in step", heldList(held)),
    ]);
  }
  poll(ofLink(link, "differences"), { every: 10_000, signal, failed: wrong.say }, (answer, at) => {
    wrong.say(null);
    found = answer;
    put(as_of, `${many(answer.changes.length, "change")}, ${answer.held.length} held, as of ${time(at)}`);
    refresh();
  });
  return h("div", {}, heading("Differences", search.element, h("span", { class: "stretch" }), as_of), wrong.element, body);
}

function changesList(changes) {
  const value = (text) => (text === null ? h("span", { class: "soft" }, "–") : h("bdi", { class: "name" }, text));
  return list({
    label: "Changes to be made", rows: changes, empty: "Nothing differs that Replicator would change.",
    columns: [
      { title: "Change", show: (row) => (row.before === null ? badge("add", "good", "promoted") : row.after === null ? badge("remove", "bad", "bad") : badge("change", "warn", "copying")) },
      { title: "Kind", show: (row) => row.kind.toLowerCase().replaceAll("_", " ") },
      { title: "Resource", show: (row) => name(row.resource) },
      { title: "What", show: (row) => name(row.what) },
      { title: "Before", show: (row) => value(row.before) },
      { title: "After", show: (row) => value(row.after) },
    ],
  });
}

function heldList(held) {
  return list({
    label: "What can't be kept in step", rows: held, empty: "Nothing is held back.",
    columns: [
      { title: "Kind", show: (row) => row.kind.toLowerCase().replaceAll("_", " ") },
      { title: "Resource", show: (row) => name(row.resource) },
      { title: "Why", show: (row) => row.why.toLowerCase().replaceAll("_", " ") },
      { title: "More", show: (row) => h("span", {}, prose(row.detail)), kind: "long" },
    ],
  });
}
