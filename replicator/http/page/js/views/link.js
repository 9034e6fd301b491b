// One link: how it is, what can be done, and a tab for each side of it.

import { get } from "../api.js";
import { h, mark, name } from "../dom.js";
import { hear, live } from "../live.js";
import { to } from "../router.js";
import { ofLink, setBadge } from "../states.js";
import { verbButtons } from "../verbs.js";
import { auditTab } from "./audit.js";
import { differencesTab } from "./differences.js";
import { failoverTab } from "./failover.js";
import { faultsTab } from "./faults.js";
import { groupsTab } from "./groups.js";
import { operationTab } from "./operations.js";
import { overviewTab } from "./overview.js";
import { partitionTab } from "./partition.js";
import { topicTab } from "./topic.js";
import { topicsTab } from "./topics.js";
import { workersTab } from "./workers.js";

const TABS = [
  ["", "Overview", overviewTab],
  ["topics", "Topics", topicsTab],
  ["groups", "Groups", groupsTab],
  ["differences", "Differences", differencesTab],
  ["workers", "Workers", workersTab],
  ["faults", "Faults", faultsTab],
  ["audit", "Audit", auditTab],
];
const HIDDEN = { failover: ["Failover", failoverTab], operations: ["Operation", operationTab] };

export function linkPage(link, signal) {
  const state = h("span");
  const way = h("span", { class: "soft way" });
  const faults = h("span", { class: "number-badge", hidden: true });
  const panel = h("div", { class: "tab-panel" });
  const tabs = TABS.map(([path, title]) => h("a", { href: to("links", link, ...(path ? [path] : [])) }, title, path === "faults" && faults));
  const element = h("div", { class: "view" },
    h("div", { class: "link-head" },
      h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: to() }, "Links"), " / "),
      h("h1", { tabindex: -1 }, name(link)), state, way, h("span", { class: "stretch" }), verbButtons(link, signal)),
    h("nav", { class: "tabs", "aria-label": "Parts of the link" }, tabs),
    panel);
  let shown = { abort: new AbortController(), title: "" };
  signal.addEventListener("abort", () => shown.abort.abort());

  hear((now) => {
    const found = now.links.find((each) => each.name === link);
    if (!found) return;
    const { word, tone, drawing } = ofLink(found);
    setBadge(state, word, tone, drawing);
    if (!way.firstChild) way.append(name(found.source), " → ", name(found.target));
    faults.textContent = found.faults;
    mark(faults, "hidden", !found.faults);
  }, signal);

  function open(parts, query) {
    shown.abort.abort();
    const abort = new AbortController();
    const [path = "", ...rest] = parts;
    let [, title, make] = TABS.find(([key]) => key === path) ?? [path, ...(HIDDEN[path] ?? ["Not here", nothing])];
    if (path === "topics" && rest.length === 1) [title, make] = [rest[0], topicTab];
    if (path === "topics" && rest.length > 1) [title, make] = [`${rest[0]}-${rest[1]}`, partitionTab];
    TABS.forEach(([key], at) => mark(tabs[at], "aria-current", key === path && "page"));
    shown = { abort, title: `${title} – ${link}` };
    panel.replaceChildren(make({ link, parts: rest, query, signal: abort.signal }));
  }

  exists(link, panel, signal);
  return { element, open, title: () => shown.title };
}

function nothing() {
  return h("p", { class: "empty" }, "There is nothing at this address.");
}

/** Says so where there is no such link, with the nearest name. */
async function exists(link, panel, signal) {
  try {
    const { links } = live.at === null ? await get("v1/links", signal) : live;
    if (!links.some((each) => each.name === link)) await get(`v1/links/${encodeURIComponent(link)}/workers`, signal);
  } catch (error) {
    if (error.status === 404) panel.replaceChildren(h("p", { class: "notice bad", role: "alert" }, error.message));
  }
}
