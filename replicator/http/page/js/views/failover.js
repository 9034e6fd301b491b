// The failover wizard: what would be lost, then the order, typed, then its progress on a page of its own.

import { get, ofLink, post } from "../api.js";
import { h, mark, name, put } from "../dom.js";
import { count, many, moment } from "../format.js";
import { heading, trouble } from "../parts.js";
import { nameField, scopeFields } from "../orderfields.js";
import { to } from "../router.js";
import { badge } from "../states.js";
import { table } from "../table.js";
import { verbDialog } from "../verbs.js";

export function failoverTab({ link, signal }) {
  const wrong = trouble();
  const verdict = h("div", { class: "consequence", role: "status" });
  const losses = lossTable();
  const again = h("button", { type: "button", onclick: () => look() }, "Look again");
  const why = h("input", { type: "text", maxlength: 500, placeholder: "for others: it is shown, and kept" });
  const gate = nameField(link, () => allow());
  const go = h("button", { class: "danger solid", disabled: true }, `Fail over ${link}`);
  const back = h("a", { class: "button", href: to("links", link) }, "Cancel");
  const said = h("p", {}, h("b", {}, "Nothing is decided yet."));
  const refused = h("p", { class: "bad", role: "alert", hidden: true });
  let [found, turn] = [null, 0];
  const scope = scopeFields(() => look());
  const second = h("form", { class: "step" }, h("h3", {}, "2 · Decide"), said, h("label", { class: "field" }, "Why", why),
    gate.element, refused, h("div", { class: "buttons" }, back, go));

  const allow = () => mark(go, "disabled", !found?.due || !gate.right());
  async function look() {
    const mine = (turn += 1);
    found = null;
    allow();
    const chosen = scope.scope();
    if (!chosen) return;
    put(verdict, "Asking both clusters what would be lost… While the source is away this takes some seconds.");
    mark(again, "disabled", true);
    try {
      const answer = await get(ofLink(link, "failover", { topic: chosen.topic }), signal);
      if (mine !== turn) return;
      found = answer;
      wrong.say(null);
      verdict.replaceChildren(...outlook(link, answer));
      losses.show(answer.losses.map((loss) => ({ ...loss, rank: loss.records ?? Infinity })));
      said.replaceChildren(h("b", {}, `Copying of ${many(answer.due, "partition")} ends for good${lost(answer)}.`),
        " Nothing is deleted. From then on the copies, their settings, ACLs and groups are left alone.");
    } catch (error) {
      if (signal.aborted || mine !== turn) return;
      put(verdict, "");
      wrong.say(error);
    } finally {
      mark(again, "disabled", null);
    }
    allow();
  }
  second.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (go.disabled) return;
    mark(go, "disabled", true);
    mark(refused, "hidden", true);
    try {
      const { operation } = await post(ofLink(link, "failover"), { ...scope.scope(), why: why.value, confirm: link });
      location.hash = to("links", link, "operations", operation);
    } catch (error) {
      put(refused, error.message);
      mark(refused, "hidden", null);
      allow();
    }
  });
  look();
  return h("div", { class: "wizard" },
    heading("Failover"),
    h("p", { class: "soft" }, "For a source that is gone. If it answers, a planned move (promote) loses nothing."),
    h("section", { class: "step" }, h("h3", {}, "1 · What would be lost"), scope.element, verdict, wrong.element, losses.element, h("div", { class: "buttons" }, again)),
    second);
}

function lost({ source, lost_records: records, unknown_partitions: unknown }) {
  const known = records ? `, and ${many(records, "record")} or more stay behind on ${source}` : "";
  return unknown ? `${known}; of ${many(unknown, "partition")} nobody knows what is lost` : known;
}

function outlook(link, found) {
  const line = found.source_error
    ? h("p", {}, badge(`${found.source} can't be reached`, "bad", "bad"), ` ${found.source_error.replace(/\.?$/, ".")} `,
        found.source_seen ? `It was seen last at ${moment(found.source_seen)}; losses are as of then, and what was written there later comes on top.` : "Nobody knows where it ended.")
    : h("p", {}, badge(`${found.source} answers`, "good", "good"), " With a planned move nothing would be lost: ",
        h("button", { type: "button", class: "inline", onclick: () => verbDialog(link, "promote") }, "promote instead"), ".");
  const parts = found.losses.filter((loss) => loss.records !== 0).length;
  const total = h("p", { class: "total" }, h("b", { class: found.lost_records ? "bad" : "" }, count(found.lost_records)),
    ` records lost, as far as is known, in ${count(parts - found.unknown_partitions)} of ${many(found.partitions, "partition")}`,
    found.unknown_partitions ? `; of ${count(found.unknown_partitions)} nothing is known` : "",
    found.due < found.partitions ? `; ${count(found.partitions - found.due)} are failed over already` : "", ".");
  return [line, total];
}

function lossTable() {
  return table({
    label: "Expected loss of each partition", keyOf: (row) => `${row.topic}\u0000${row.partition}`, sort: { key: "records", down: true }, empty: "No partitions.",
    columns: [
      { key: "place", title: "Partition", width: 220, text: (row) => `${row.topic}-${row.partition}`, fill: (cell, row) => cell.replaceChildren(name(`${row.topic}-${row.partition}`)) },
      { key: "records", title: "Records lost", width: 120, number: true, text: (row) => (row.records === null ? "unknown" : count(row.records)), order: (row) => row.rank },
      { key: "seconds", title: "Seconds", width: 90, number: true, text: (row) => (row.seconds === null ? "–" : row.seconds.toFixed(1)), order: (row) => row.seconds ?? -1 },
      { key: "copied_to", title: "Copied to", width: 120, number: true, text: (row) => count(row.copied_to), order: (row) => row.copied_to },
      { key: "source_end", title: "Source ends", width: 120, number: true, text: (row) => count(row.source_end), order: (row) => row.source_end },
    ],
  });
}
