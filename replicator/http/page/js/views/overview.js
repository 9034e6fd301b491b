// A link as a whole: its numbers, lines over time, and whether a planned move could be made now.

import { get, ofLink as pathOf } from "../api.js";
import { chart } from "../chart.js";
import { h, mark, name, put, refill } from "../dom.js";
import { age, bytes, count, many, moment, short } from "../format.js";
import { hear, live } from "../live.js";
import { figure, figures, panel, prose } from "../parts.js";
import { to } from "../router.js";
import { BY_RANK, badge, known } from "../states.js";
import { list } from "../table.js";

const READY_EVERY_MS = 30_000; // it compares everything that isn't records, too

export function overviewTab({ link, signal }) {
  const numbers = {
    lag: figure("Lag"), behind: figure("Furthest behind"), records: figure("Records/s"), bytes: figure("Bytes/s"),
    partitions: figure("Partitions"), workers: figure("Workers"),
  };
  const states = h("div", { class: "states" });
  const notice = h("p", { class: "notice bad", role: "status", hidden: true });
  const worst = h("p", { class: "soft" });
  const charts = {
    lag: chart({ title: "Lag", show: (value) => short(value) }, signal),
    records: chart({ title: "Records/s", show: (value) => short(value) }, signal),
    bytes: chart({ title: "Bytes/s", show: (value) => bytes(value) }, signal),
  };
  hear((now) => {
    const found = now.links.find((each) => each.name === link);
    if (!found) return;
    numbers.lag.set(short(found.lag), "records");
    numbers.behind.set(age(found.lag_ms));
    numbers.records.set(short(found.records_per_s));
    numbers.bytes.set(bytes(found.bytes_per_s));
    numbers.partitions.set(count(found.partitions));
    numbers.workers.set(count(found.workers), "", found.workers ? null : "bad");
    const said = found.error ?? (found.source_error && `${found.source}: ${found.source_error}`);
    put(notice, said ?? "");
    mark(notice, "hidden", !said);
    showStates(states, link, found.states);
    showWorst(worst, link, found.worst);
    const kept = live.history.get(link);
    for (const [key, each] of Object.entries(charts)) each.draw(kept.at, kept[key]);
  }, signal);
  return h("div", { class: "overview" }, h("h2", { class: "unseen" }, "Overview"), notice,
    figures(...Object.values(numbers)),
    h("div", { class: "states-line" }, states, worst),
    h("div", { class: "charts" }, Object.values(charts).map((each) => each.element)),
    readiness(link, signal));
}

function showStates(element, link, states) {
  const there = BY_RANK.filter((state) => states[state]);
  refill(element, JSON.stringify(states), () => there.map((state) => {
    const { word, tone } = known(state);
    const shown = badge(`${count(states[state])} ${word.toLowerCase()}`, tone, state.toLowerCase());
    return state === "FAULTED" ? h("a", { href: to("links", link, "faults") }, shown) : shown;
  }));
}

function showWorst(element, link, worst) {
  refill(element, `${worst?.topic}/${worst?.partition}/${worst?.lag}`, () => worst?.lag ? [
    h("span", {}, "Furthest behind: "),
    h("a", { href: to("links", link, "topics", worst.topic, String(worst.partition)) }, name(`${worst.topic}-${worst.partition}`)),
    h("span", {}, `, ${many(worst.lag, "record")}, ${age(worst.lag_ms)}`),
  ] : []);
}

/** Asked for rarely, and on demand: it looks at settings, ACLs, groups and users, too. */
function readiness(link, signal) {
  const body = h("div", { class: "ready" }, h("p", { class: "soft" }, "Comparing both clusters…"));
  const at = h("span", { class: "soft small" });
  const again = h("button", { type: "button" }, "Check again");
  let timer = null;
  const look = async () => {
    clearTimeout(timer);
    mark(again, "disabled", true);
    try {
      const found = await get(pathOf(link, "ready"), signal);
      body.replaceChildren(...verdict(found));
      put(at, `as of ${moment(Date.now())}`);
    } catch (error) {
      if (!signal.aborted) body.replaceChildren(h("p", { class: "bad" }, error.message));
    }
    mark(again, "disabled", null);
    if (!signal.aborted) timer = setTimeout(look, READY_EVERY_MS);
  };
  again.addEventListener("click", look);
  signal.addEventListener("abort", () => clearTimeout(timer));
  look();
  const element = panel("Ready for a planned move?", body);
  element.firstChild.append(h("span", { class: "stretch" }), at, again);
  return element;
}

function verdict({ ready, obstacles }) {
  const blocking = obstacles.filter((each) => each.blocks).length;
  const line = ready
    ? badge(obstacles.length ? "Ready; worth knowing:" : "Ready: nothing is missing on the target", "good", "good")
    : badge(`Not ready: ${many(blocking, "obstacle")}`, "warn", "faulted");
  if (!obstacles.length) return [line];
  return [line, list({
    label: "Obstacles", rows: obstacles, most: 50,
    columns: [
      { title: "About", show: (row) => row.kind },
      { title: "Where", show: (row) => name(row.where), kind: "where" },
      { title: "What", show: (row) => row.what, kind: "long" },
      { title: "Next", show: (row) => h("span", {}, prose(row.next_step || "–")), kind: "long" },
      { title: "Blocks", show: (row) => (row.blocks ? "yes" : "no") },
    ],
  })];
}
