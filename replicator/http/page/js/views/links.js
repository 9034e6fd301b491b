// All links: how each is, and how far behind.

import { h, mark, name, put } from "../dom.js";
import { age, bytes, count, many, short } from "../format.js";
import { hear, live } from "../live.js";
import { figure, figures, title } from "../parts.js";
import { to } from "../router.js";
import { spark } from "../spark.js";
import { ofLink, setBadge } from "../states.js";

export function linksView(signal) {
  const all = { lag: figure("Lag"), records: figure("Records/s"), bytes: figure("Bytes/s"), faults: figure("Faulted") };
  const cards = new Map();
  const wall = h("ul", { class: "cards" });
  const none = h("p", { class: "empty" }, live.at === null ? "Asking…" : "");
  hear((now) => {
    const total = (key) => now.links.reduce((sum, link) => sum + (link[key] ?? 0), 0);
    all.lag.set(short(total("lag")), "records");
    all.records.set(short(total("records_per_s")));
    all.bytes.set(bytes(total("bytes_per_s")));
    all.faults.set(count(total("faults")), "partitions", total("faults") ? "bad" : null);
    for (const link of now.links) {
      if (!cards.has(link.name)) cards.set(link.name, card(link));
      const made = cards.get(link.name);
      made.show(link);
      if (!made.element.parentNode) wall.append(made.element);
    }
    for (const [key, made] of cards) {
      if (now.links.some((link) => link.name === key)) continue;
      made.element.remove();
      cards.delete(key);
    }
    put(none, now.links.length ? "" : "No links are configured.");
  }, signal);
  return {
    element: h("div", { class: "view" }, title("Links", figures(...Object.values(all))), wall, none),
    title: () => "Links",
  };
}

function card(link) {
  const state = h("span");
  const numbers = {
    lag: figure("Lag"), behind: figure("Behind"), records: figure("Records/s"), bytes: figure("Bytes/s"), workers: figure("Workers"),
  };
  const line = spark("Lag in the last minute and a half");
  const note = h("p", { class: "note" });
  const element = h("li", { class: "card" },
    h("div", { class: "who" },
      h("h2", {}, h("a", { href: to("links", link.name) }, name(link.name))),
      h("p", { class: "soft" }, name(link.source), " → ", name(link.target)), state),
    figures(...Object.values(numbers)), line.element, note);
  return {
    element,
    show(now) {
      const { word, tone, drawing } = ofLink(now);
      setBadge(state, word, tone, drawing);
      mark(element, "data-tone", tone);
      numbers.lag.set(short(now.lag), "records");
      numbers.behind.set(age(now.lag_ms));
      numbers.records.set(short(now.records_per_s));
      numbers.bytes.set(bytes(now.bytes_per_s));
      numbers.workers.set(count(now.workers), many(now.partitions, "partition"), now.workers ? null : "bad");
      line.draw(live.history.get(now.name)?.lag ?? []);
      put(note, now.error ?? now.source_error ?? worstOf(now));
      mark(note, "class", now.error || now.source_error ? "note bad" : "note");
    },
  };
}

function worstOf(link) {
  if (!link.worst?.lag) return "";
  const { topic, partition, lag, lag_ms } = link.worst;
  return `Furthest behind: ${topic}-${partition}, ${many(lag, "record")}, ${age(lag_ms)}`;
}
