// One partition: all that is known of it, who owns it, gaps, and where an offset is on the other side.

import { get, ofLink } from "../api.js";
import { h, name, refill } from "../dom.js";
import { age, ago, count, moment, short } from "../format.js";
import { command, heading, liveFacts, panel, prose, trouble } from "../parts.js";
import { keyOf, ratesOf } from "../partitions.js";
import { poll } from "../polling.js";
import { to } from "../router.js";
import { known, setBadge } from "../states.js";
import { list } from "../table.js";
import { nextCommands } from "../nextsteps.js";
import { ownerOf } from "../lanes.js";

const END = "Source ends at";
const COPIED = "Copied to (source's offset)";
const THERE = "Copy ends at (target's offset)";

export function partitionTab({ link, parts: [topic, partition], signal }) {
  const wrong = trouble();
  const state = h("span");
  const position = liveFacts(END, COPIED, THERE, "Lag", "Behind", "Records/s");
  const about = liveFacts("Since", "Reason", "Recorded by a worker", "Lane", "Worker", "Host");
  const body = h("div", { class: "two" }, panel("Position", position.element), panel("State", about.element));
  const fault = h("div");
  const gaps = h("div");
  poll(ofLink(link), { every: 1000, signal, failed: wrong.say }, (status, at) => {
    const row = status.partitions.find((each) => each.topic === topic && String(each.partition) === partition);
    const rate = row && ratesOf(link, status.partitions, at).get(keyOf(row));
    wrong.say(row ? null : new Error(`Link ${link} has no partition ${partition} of ${topic}.`));
    if (!row) return;
    const { word, tone } = known(row.state);
    setBadge(state, word, tone, row.state.toLowerCase());
    const owner = ownerOf(status, row);
    position.set({
      [END]: count(row.source_end), [COPIED]: count(row.source_next), [THERE]: count(row.target_next),
      Lag: `${count(row.lag)} records`, Behind: age(row.lag_ms), "Records/s": short(rate),
    });
    about.set({
      Since: row.since && `${moment(row.since)} (${ago(row.since)} ago)`, Reason: row.reason,
      "Recorded by a worker": row.confirmed === false ? "not yet" : "yes", Lane: owner.lane, Worker: owner.worker, Host: owner.host,
    });
    refill(fault, JSON.stringify([row.detail, row.next_step]), () => row.detail || row.next_step ? panel("Why, and what next",
      h("p", {}, row.detail), h("p", {}, prose(row.next_step ?? "")), nextCommands(link, row).map(command)) : null);
    refill(gaps, JSON.stringify(row.gaps), () => row.gaps?.length ? panel("Gaps that were accepted", gapList(row.gaps)) : null);
  });
  return h("div", {},
    heading(h("span", {}, h("a", { href: to("links", link, "topics", topic) }, name(topic)), ` / ${partition}`), state),
    wrong.element, body, fault, gaps, translation(link, topic, partition));
}

function gapList(gaps) {
  const range = (from, until) => (until > from ? `${count(from)} to ${count(until - 1)}` : "–");
  return list({
    label: "Gaps", rows: gaps,
    columns: [
      { title: "Reason", show: (gap) => gap.reason },
      { title: "Source offsets", show: (gap) => range(gap.source_from, gap.source_to) },
      { title: "Target offsets", show: (gap) => range(gap.target_from, gap.target_to) },
      { title: "When", show: (gap) => moment(gap.at) },
      { title: "By", show: (gap) => name(gap.by) },
    ],
  });
}

/** Where an offset of the source is in the copy. */
function translation(link, topic, partition) {
  const field = h("input", { type: "number", min: 0, step: 1, required: true, id: "offset", inputmode: "numeric" });
  const found = h("output", { for: "offset" });
  const form = h("form", { class: "row" }, h("label", { for: "offset" }, "Offset on the source"), field, h("button", {}, "Translate"), found);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const answer = await get(ofLink(link, "translate", { topic, partition, offset: field.value }));
      const exact = answer.exact ? "exactly" : `within ${count(answer.error_bound)}`;
      found.replaceChildren("is ", name(answer.to.topic), ` ${answer.to.partition} at `, h("b", {}, count(answer.to.offset)), `, ${exact}`);
    } catch (error) {
      found.replaceChildren(error.message);
    }
  });
  return panel("Where is this record in the copy?", form);
}
