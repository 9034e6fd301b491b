// Pieces that several pages are made of.

import { h, name } from "../shared/js/dom.js";
import { icon } from "../shared/js/icons.js";

const TONES = { ACTIVE: "good", RUNNING: "good", FAILED: "bad", DELETING: "warn", HEALING: "bad" };

/** A state as a word with a colour. */
export function state(value) {
  const tone = TONES[value] ?? "warn";
  const drawing = { good: "good", bad: "bad", warn: "pending" }[tone];
  return h("span", { class: `badge ${tone}` }, icon(drawing), h("span", {}, value ?? "–"));
}

/** Terms and what they are; rows of null are left out. */
export function facts(rows) {
  return h("dl", { class: "facts" }, rows.filter(Boolean).map(([term, value]) =>
    h("div", {}, h("dt", {}, term), h("dd", {}, value ?? "–"))));
}

export function panel(title, ...content) {
  return h("section", { class: "panel", "aria-label": title }, h("header", {}, h("h2", {}, title)), ...content);
}

/** Something to copy. */
export function command(text, label) {
  const button = h("button", { type: "button", class: "quiet", "aria-label": `Copy ${label}` }, icon("copy"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.setAttribute("aria-label", `Copied ${label}`);
  });
  return h("div", { class: "command" }, h("code", { tabindex: 0 }, text), button);
}

export function notice(tone, ...content) {
  return h("div", { class: `notice ${tone}`, role: tone === "bad" ? "alert" : "status" }, ...content);
}

/** A table of `[title, row => cell]` columns; the first column heads each row. */
export function list(label, columns, rows, empty) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const head = h("tr", {}, columns.map(([title]) => h("th", { scope: "col" }, title)));
  const body = rows.map((row) => h("tr", {}, columns.map(([title, cell], index) =>
    h(index ? "td" : "th", { scope: index ? null : "row", "data-title": title }, cell(row) ?? "–"))));
  return h("div", { class: "listed" }, h("table", { class: "list", "aria-label": label }, h("thead", {}, head), h("tbody", {}, body)));
}

/** A labelled field; `hint` is read with it. */
export function field(label, input, hint) {
  const id = input.id || (input.id = `f-${label.toLowerCase().replace(/\W+/g, "-")}`);
  const note = hint && h("span", { class: "hint", id: `${id}-hint` }, hint);
  if (note) input.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), input, note);
}

export function check(label, checked, attributes = {}) {
  const box = h("input", { type: "checkbox", checked, ...attributes });
  return { box, element: h("label", { class: "check" }, box, label) };
}

export function choice(options, chosen) {
  return h("select", {}, options.map((one) => {
    const [value, text] = Array.isArray(one) ? one : [one, one];
    return h("option", { value, selected: value === chosen }, text);
  }));
}

/** `key=value` lines as an object. */
export function tagsOf(text) {
  const tags = {};
  for (const line of text.split("\n").map((each) => each.trim()).filter(Boolean)) {
    const [key, ...rest] = line.split("=");
    tags[key.trim()] = rest.join("=").trim();
  }
  return tags;
}

export { h, name };

/** Runs what a form says: the button rests meanwhile, and what the service has against it is shown and said. */
export function submits(form, button, problem, work) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    problem.replaceChildren();
    try {
      await work();
    } catch (error) {
      problem.replaceChildren(notice("bad", h("b", {}, error.kind ? `${error.kind}: ` : ""), error.message));
      problem.scrollIntoView({ block: "nearest" });
    } finally {
      button.disabled = false;
    }
  });
}

/** Asks again and again until the page is left. */
export function follow(ask, signal, show, failed, every = 1500) {
  const run = async () => {
    while (!signal.aborted) {
      try {
        show(await ask());
      } catch (error) {
        if (signal.aborted) return;
        failed(error);
      }
      await new Promise((done) => {
        const timer = setTimeout(done, document.hidden ? every * 10 : every);
        signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
      });
    }
  };
  run();
}
