// Who did what to the link, when, and what came of it.

import { ofLink } from "../api.js";
import { h, name, put, refill } from "../dom.js";
import { age, many, moment, time } from "../format.js";
import { filter, heading, trouble } from "../parts.js";
import { poll } from "../polling.js";
import { badge } from "../states.js";
import { list } from "../table.js";

const COUNT = 200;
const RESULTS = { ok: ["good", "good"], refused: ["warn", "faulted"], failed: ["bad", "bad"] };

export function auditTab({ link, query, signal }) {
  const wrong = trouble();
  const body = h("div", {}, h("p", { class: "empty" }, "Asking…"));
  const as_of = h("span", { class: "soft small" });
  let rows = [];
  const search = filter("Filter by who, verb or text", query, () => refresh());
  function refresh() {
    const words = search.words();
    const chosen = rows.filter((row) => words.every((word) => Object.values(row).join(" ").toLowerCase().includes(word)));
    refill(body, JSON.stringify(chosen), () => list({
      label: "Audit trail", rows: chosen, empty: "Nobody has done anything yet.", most: COUNT,
      columns: [
        { title: "When", show: (row) => h("time", { datetime: row.at, title: row.at }, moment(row.at)) },
        { title: "Who", show: (row) => name(row.by) },
        { title: "Did", show: (row) => h("b", {}, row.verb) },
        { title: "With", show: (row) => name(row.what) },
        { title: "Result", show: (row) => badge(row.result, ...(RESULTS[row.result] ?? ["soft", "unknown"])) },
        { title: "Took", number: true, show: (row) => age(row.took_ms) },
        { title: "More", show: (row) => row.detail || "–", kind: "long" },
      ],
    }));
  }
  poll(ofLink(link, "audit", { count: COUNT }), { every: 5000, signal, failed: wrong.say }, ({ audit }, at) => {
    wrong.say(null);
    rows = audit;
    put(as_of, `${many(rows.length, "entry", "entries")}, as of ${time(at)}`);
    refresh();
  });
  return h("div", {}, heading("Audit trail", search.element, h("span", { class: "stretch" }), as_of), wrong.element, body);
}
