// Orders that were given through this service: how far each has got, and what came of it.

import { get } from "../api.js";
import { h, mark, name, put, refill } from "../dom.js";
import { age, count, many, moment } from "../format.js";
import { facts, panel, title as pageTitle, trouble } from "../parts.js";
import { poll } from "../polling.js";
import { to } from "../router.js";
import { badge, setBadge } from "../states.js";
import { list } from "../table.js";

const STATES = { running: ["Running", "accent", "pending"], done: ["Done", "good", "good"], failed: ["Failed", "bad", "bad"], refused: ["Refused", "warn", "faulted"] };
const EVERY_MS = 400;
const LONG = 50; // of lists in the result
const NEXT = {
  failover: "Let clients use the copies now. When the old source is back, Restore finds what was written there and never copied.",
  promote: "Let clients use the copies now: nothing is missing there.",
  remove: "Take the link out of the configuration of its workers.",
};
const WORDS = {
  took_ms: ["Took", age], after_quiet_ms: ["After the source was quiet", age], lost_records: ["Records lost, as far as is known", count],
  unknown_partitions: ["Partitions of which nothing is known", count], waiting: ["Partitions that haven't confirmed yet", count],
  changed: ["Partitions changed", count], records: ["Records", count], snapshot: ["Status saved to", String], audit: ["Audit trail saved to", String], source_seen: ["Source seen last", moment],
  source_error: ["Source", String], merged: ["Merged", String],
};

const stateOf = (state) => STATES[state] ?? [state, "soft", "unknown"];

/** All orders, the newest first. */
export function operationsView(signal) {
  const wrong = trouble();
  const body = h("div", {}, h("p", { class: "empty" }, "Asking…"));
  poll("v1/operations", { every: 2000, signal, failed: wrong.say }, ({ operations }) => {
    wrong.say(null);
    refill(body, JSON.stringify(operations), () => list({
      label: "Operations", rows: operations, empty: "No order was given through this service since it started. The audit trail of each link has all.",
      columns: [
        { title: "Started", show: (row) => h("a", { href: to("links", row.link, "operations", row.id) }, moment(row.started)) },
        { title: "Link", show: (row) => name(row.link) }, { title: "Order", show: (row) => h("b", {}, row.verb) },
        { title: "By", show: (row) => name(row.by) }, { title: "State", show: (row) => badge(...stateOf(row.state)) },
        { title: "More", show: (row) => row.error ?? "–", kind: "long" },
      ],
    }));
  });
  return { element: h("div", { class: "view" }, pageTitle("Operations"), wrong.element, body), title: () => "Operations" };
}

/** One order of a link, by its id. */
export function operationTab({ link, parts: [id], signal }) {
  return h("div", {}, progress(link, id, signal));
}

/** What an operation says while it runs, and its result. `ended(operation)` is called once. */
export function progress(link, id, signal, ended = () => {}) {
  const wrong = trouble();
  const state = h("span", { role: "status" });
  const title = h("h2", { tabindex: -1 }, "Operation");
  const lines = h("ol");
  const log = h("div", { class: "lines", role: "log", "aria-label": "Progress", tabindex: 0 }, lines);
  const about = h("div");
  const result = h("div");
  const stop = new AbortController();
  signal.addEventListener("abort", () => stop.abort());
  const said = h("span");
  state.append(said);
  poll(`v1/operations/${encodeURIComponent(id)}`, { every: EVERY_MS, signal: stop.signal, failed: wrong.say }, (found) => {
    wrong.say(null);
    put(title, `${found.verb} ${found.link}`);
    setBadge(said, ...stateOf(found.state));
    for (const line of found.lines.slice(lines.children.length)) lines.append(h("li", {}, line));
    mark(log, "hidden", !found.lines.length);
    refill(about, JSON.stringify([found.by, found.started, found.ended]), () => facts(
      ["By", name(found.by)], ["Started", moment(found.started)], ["Ended", found.ended && moment(found.ended)],
      ["Why", found.arguments?.why], ["Topics", found.arguments?.topic ?? "all"]));
    refill(result, JSON.stringify([found.state, found.error, found.result]), () => shownResult(found));
    if (found.state === "running") return;
    stop.abort();
    ended(found);
  });
  return h("section", { class: "operation" }, h("div", { class: "heading" }, title, state), wrong.element, about, log, result,
    h("p", {}, h("a", { href: to("links", link) }, "To the link"), " · ", h("a", { href: to("links", link, "audit") }, "Audit trail")));
}

/** What the order has saved, for this machine: with a token a plain link wouldn't do. */
function download(id, what, file) {
  const button = h("button", { type: "button" }, `Download the ${what}`);
  button.addEventListener("click", async () => {
    try {
      const found = await get(`v1/operations/${encodeURIComponent(id)}/snapshot`);
      const url = URL.createObjectURL(new Blob([JSON.stringify(found, null, 1)], { type: "application/json" }));
      h("a", { href: url, download: file }).click();
      URL.revokeObjectURL(url);
    } catch (error) {
      put(button, error.message);
    }
  });
  return h("div", { class: "row" }, button);
}

/** For JSON: long lists by their beginning. */
function shortened(_, value) {
  return Array.isArray(value) && value.length > LONG ? [...value.slice(0, LONG), `… ${value.length - LONG} more`] : value;
}

function shownResult({ id, link, verb, state, error, result }) {
  const parts = [];
  if (error) parts.push(h("p", { class: `notice ${state === "refused" ? "warn" : "bad"}`, role: "alert" }, error));
  if (!result) return parts;
  const known = Object.entries(WORDS).filter(([key]) => result[key] !== undefined && result[key] !== null);
  const partitions = Array.isArray(result.partitions) ? result.partitions.length : result.partitions;
  parts.push(panel("Result", NEXT[verb] && h("p", {}, h("b", {}, "Next: "), NEXT[verb]),
    facts(["Partitions", partitions === undefined ? null : count(partitions)], ...known.map(([key, [title, show]]) => [title, show(result[key])]),
      ["Groups", result.groups && `${many(result.groups.moved ?? 0, "position")} of ${many(result.groups.groups ?? 0, "group")} brought up to the end`]),
    result.snapshot && download(id, "status as it was", `${verb}-${link}.json`),
    result.audit && download(id, "audit trail", `removed-${link}.json`),
    result.steps ? h("p", { class: "soft" }, Object.entries(result.steps).map(([step, ms]) => `${step} ${age(ms)}`).join(" · ")) : null,
    result.differences?.length ? h("ul", { class: "short", tabindex: 0, "aria-label": "Differences" }, result.differences.map((each) => h("li", {}, each))) : null,
    h("details", {}, h("summary", {}, "As JSON"), h("pre", { tabindex: 0 }, JSON.stringify(result, shortened, 1)))));
  return parts;
}

