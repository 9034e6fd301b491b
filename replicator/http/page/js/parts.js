// Parts that several views have.

import { h, mark, put } from "./dom.js";
import { icon } from "./icons.js";
import { announce } from "./announce.js";
import { setQuery } from "./router.js";

/** A number with what it is; returns `{element, set(text, note)}`. */
export function figure(label) {
  const value = h("dd", {});
  const note = h("dd", { class: "note" });
  return {
    element: h("div", { class: "figure" }, h("dt", {}, label), value, note),
    set(text, noted = "", tone = null) {
      put(value, text);
      put(note, noted);
      mark(value, "class", tone);
    },
  };
}

export function figures(...each) {
  return h("dl", { class: "figures" }, each.map((one) => one.element));
}

/** A box with a heading. */
export function panel(title, ...children) {
  return h("section", { class: "panel" }, h("header", {}, h("h3", {}, title)), ...children.filter(Boolean));
}

/** The heading of a part of a link: what gets the focus when it comes. */
export function heading(text, ...beside) {
  return h("div", { class: "heading" }, h("h2", { tabindex: -1 }, text), ...beside);
}

/** The heading of a whole page. */
export function title(text, ...beside) {
  return h("div", { class: "heading" }, h("h1", { tabindex: -1 }, text), ...beside);
}

/** A line that says why there is nothing, or nothing newer. */
export function trouble() {
  const element = h("p", { class: "notice bad", role: "alert", hidden: true });
  return {
    element,
    say(problem) {
      put(element, problem ? problem.message : "");
      mark(element, "hidden", !problem);
    },
  };
}

/** A search field that is part of the address; `changed(words)` hears lower-case words. */
export function filter(label, query, changed) {
  const field = h("input", { type: "search", placeholder: label, "aria-label": label, value: query.get("q") ?? "" });
  const words = () => field.value.toLowerCase().split(/\s+/).filter(Boolean);
  field.addEventListener("input", () => {
    setQuery("q", field.value);
    changed(words());
  });
  return { element: field, words };
}

/** A command, and a button that copies it. */
export function command(text) {
  const button = h("button", { type: "button", class: "quiet", "aria-label": "Copy the command" }, icon("copy"), h("span", {}, "Copy"));
  button.addEventListener("click", async () => {
    const done = await copied(text);
    put(button.lastChild, done ? "Copied" : "Select it");
    announce(done ? "Copied" : "It could not be copied");
    setTimeout(() => put(button.lastChild, "Copy"), 2000);
  });
  return h("div", { class: "command" }, h("code", { tabindex: 0, role: "group", "aria-label": "Command" }, text), button);
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text); // only where the page came by https or from this machine
    return true;
  } catch {
    const area = h("textarea", { class: "unseen", readonly: true });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** Text in which `this` is shown as code. */
export function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));
}

/** As `facts`, of texts that change: returns `{element, set({name: text})}`; what has no text isn't shown. */
export function liveFacts(...names) {
  const values = new Map(names.map((each) => [each, h("dd", {})]));
  const rows = new Map(names.map((each) => [each, h("div", { hidden: true }, h("dt", {}, each), values.get(each))]));
  return {
    element: h("dl", { class: "facts" }, ...rows.values()),
    set(texts) {
      for (const [key, text] of Object.entries(texts)) {
        put(values.get(key), text);
        mark(rows.get(key), "hidden", text === null || text === undefined || text === "");
      }
    },
  };
}

/** Rows of names and values. */
export function facts(...pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, shown.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value))));
}
