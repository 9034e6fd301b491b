// The console: a bar on top, one view below, chosen by the address behind the `#`.

import { announce, announceChanges } from "./announce.js";
import { onTokenNeeded } from "./api.js";
import { h, mark } from "./dom.js";
import { age, time } from "./format.js";
import { icon } from "./icons.js";
import { follow, hear, live, tryNow } from "./live.js";
import { parse, to } from "./router.js";
import { setBadge } from "./states.js";
import { applyTheme, themeSwitch } from "./theme.js";
import { tokenDialog } from "./token.js";
import { linkPage } from "./views/link.js";
import { linksView } from "./views/links.js";
import { operationsView } from "./views/operations.js";

const main = document.getElementById("main");
const health = h("span", { class: "badge soft", id: "health" });
const lost = h("div", { class: "lost", role: "alert", hidden: true });
const mainLinks = [h("a", { href: to() }, "Links"), h("a", { href: to("operations") }, "Operations")];
let named = "Replicator";
let shown = { abort: new AbortController(), page: null, key: null };

function top() {
  document.getElementById("top").append(
    h("a", { class: "brand", href: to() }, h("img", { src: "icon.svg", alt: "", width: 24, height: 24 }), h("span", {}, "Replicator")),
    h("nav", { "aria-label": "Main" }, mainLinks),
    h("span", { class: "stretch" }),
    health,
    themeSwitch(),
  );
  document.getElementById("top").after(lost);
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
}

/** Shows the view of the address. A link's page stays while its tabs change. */
function route() {
  const { parts, query } = parse(location.hash);
  const key = parts[0] === "links" && parts[1] ? `links/${parts[1]}` : parts[0] ?? "";
  mainLinks.forEach((link) => mark(link, "aria-current", link.hash === to(...parts) && "page"));
  const first = shown.key === null;
  if (key !== shown.key || !shown.page?.open) {
    shown.abort.abort();
    const abort = new AbortController();
    const page = pageOf(parts, abort.signal);
    shown = { abort, page, key };
    main.replaceChildren(page.element);
  }
  shown.page.open?.(parts.slice(2), query);
  const title = shown.page.title();
  named = title === "Links" ? "Replicator" : `${title} – Replicator`;
  showTitle();
  if (first) return;
  const focus = document.activeElement;
  if (!focus || focus === document.body || !focus.isConnected) {
    window.scrollTo(0, 0);
    (main.querySelector("[tabindex='-1']") ?? main).focus({ preventScroll: true });
  }
  announce(title);
}

function pageOf(parts, signal) {
  if (parts.length === 0 || (parts[0] === "links" && parts.length === 1)) return linksView(signal);
  if (parts[0] === "links") return linkPage(parts[1], signal);
  if (parts[0] === "operations") return operationsView(signal);
  const text = h("p", { class: "empty" }, "There is nothing at this address. ", h("a", { href: to() }, "All links"));
  return { element: text, title: () => "Not here" };
}

/** Faults show in the tab's name, too. */
function showTitle() {
  const faults = live.links.reduce((sum, link) => sum + (link.faults ?? 0), 0);
  const wanted = faults ? `(${faults.toLocaleString("en")} faulted) ${named}` : named;
  if (document.title !== wanted) document.title = wanted;
}

function showHealth() {
  const gone = live.state === "lost";
  const old = live.at === null ? null : Date.now() - live.at;
  if (gone) setBadge(health, `Disconnected since ${time(live.since)}`, "bad", "bad");
  else if (live.state === "live") setBadge(health, "Live", "good", "good");
  else setBadge(health, "Connecting", "soft", "pending");
  document.body.classList.toggle("stale", gone);
  if (!gone) {
    if (!lost.hidden) announce("Connected again");
    lost.hidden = true;
    return;
  }
  if (lost.hidden) {
    const again = h("button", { type: "button", onclick: tryNow }, "Try now");
    lost.replaceChildren(icon("bad"), h("span", {}, said(old)), h("span", { class: "soft", "aria-live": "off" }), again);
    lost.hidden = false;
  }
  const wait = live.retry === null ? "Trying…" : `Next try in ${Math.max(0, Math.ceil((live.retry - Date.now()) / 1000))} s`;
  if (lost.children[2].textContent !== wait) lost.children[2].textContent = wait;
}

function said(old) {
  const seen = live.at === null ? "Nothing has been seen yet" : `What is shown is as of ${time(live.at)} (${age(old)} old)`;
  return `Disconnected since ${time(live.since)}: ${live.why}. ${seen}.`;
}

applyTheme();
top();
onTokenNeeded(tokenDialog);
showHealth();
hear((now) => {
  showHealth();
  showTitle();
  announceChanges(now);
});
setInterval(() => live.state === "lost" && showHealth(), 1000);
addEventListener("hashchange", route);
route();
follow();
