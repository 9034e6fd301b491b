// What can be ordered of a link: the verbs of every day, and behind "More…" whatever else the service offers.

import { get } from "./api.js";
import { h } from "./dom.js";
import { mayOperate, me } from "./me.js";
import { orderDialog } from "./orderdialog.js";
import { to } from "./router.js";

const VERBS = {
  pause: { title: "Pause", says: "Copying stands still until it is resumed. Records wait on the source, as long as it keeps them." },
  resume: {
    title: "Resume", says: "Paused partitions go on from where they stopped.",
    options: { accept_gap: { type: "checkbox", label: "Accept gaps: go on without the data that is missing for good" } },
  },
  promote: {
    title: "Promote", typed: true,
    says: "A planned move: waits until producers have stopped and all is copied, then copying ends and the copies are used on their own.",
    options: { quiet: { type: "number", label: "Seconds without a write on the source", value: 5 } },
  },
  restore: {
    title: "Restore", typed: true,
    says: "The old source is back: what was written there and never copied is found, and copied behind what the copies hold by now.",
  },
};
const COMMON = new Set(["topic", "all", "why", "dry_run", "confirm", "wait"]);
const ELSEWHERE = new Set([...Object.keys(VERBS), "failover"]);

/** The buttons of a link; for those who may only look, a word instead. */
export function verbButtons(link, signal) {
  const buttons = Object.entries(VERBS).map(([verb, { title, typed }]) =>
    h("button", { type: "button", onclick: () => verbDialog(link, verb) }, typed ? `${title}…` : title));
  const failover = h("a", { class: "button danger", href: to("links", link, "failover") }, "Failover…");
  const more = h("button", { type: "button", onclick: () => moreDialog(link) }, "More…");
  const element = h("div", { class: "verbs", role: "group", "aria-label": "Orders" }, buttons, more, failover);
  me().then((who) => {
    if (!signal.aborted && !mayOperate(who)) element.replaceChildren(h("span", { class: "soft" }, `${who.name} may only look`));
  }, () => {});
  return element;
}

/** The dialog of one of the verbs of every day. */
export function verbDialog(link, verb) {
  orderDialog(link, verb, VERBS[verb]);
}

/** All other verbs, as the service describes itself. */
async function moreDialog(link) {
  const body = h("div", { class: "more-verbs" }, h("p", { class: "soft" }, "Asking…"));
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h("dialog", { "aria-label": "More orders" }, h("form", { method: "dialog" }, h("h2", {}, "More"), body, h("div", { class: "buttons" }, close)));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  try {
    const found = others(await get("v1/openapi.json"));
    const line = ([verb, spec]) => h("li", {},
      h("button", { type: "button", onclick: () => { dialog.close(); orderDialog(link, verb, spec); } }, `${spec.title}…`), h("p", { class: "soft" }, spec.says));
    body.replaceChildren(found.length ? h("ul", {}, found.map(line)) : h("p", { class: "soft" }, "This service offers no other orders."));
  } catch (error) {
    body.replaceChildren(h("p", { class: "bad" }, error.message));
  }
}

/** `[verb, spec]` of each verb in the description that has no button of its own. */
function others({ paths, components }) {
  const found = [];
  for (const [path, { post }] of Object.entries(paths)) {
    const verb = path.match(/^\/v1\/links\/\{link\}\/(\w+)$/)?.[1];
    if (!post || !verb || ELSEWHERE.has(verb)) continue;
    const schema = post.requestBody?.content["application/json"]?.schema ?? {};
    const { properties = {}, ...about } = schema.$ref ? components.schemas[schema.$ref.split("/").at(-1)] : schema;
    const options = Object.entries(properties).filter(([key]) => !COMMON.has(key)).map(([key, each]) => [key, option(key, each)]);
    const title = verb[0].toUpperCase() + verb.slice(1);
    found.push([verb, { title, says: post.summary ?? "", typed: true, options: Object.fromEntries(options), wide: about["x-whole-link"] === true }]);
  }
  return found;
}

function option(key, { type, anyOf = [], description, default: value }) {
  const kinds = [type, ...anyOf.map((each) => each.type)];
  const kind = kinds.includes("boolean") ? "checkbox" : kinds.includes("number") || kinds.includes("integer") ? "number" : "text";
  return { type: kind, label: description ?? key, value };
}
