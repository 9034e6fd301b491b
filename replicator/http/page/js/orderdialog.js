// The dialog of an order: it is tried first (`dry_run`), says what will come of it, and only then can be given.

import { ofLink, post } from "./api.js";
import { h, mark, name, put } from "./dom.js";
import { count } from "./format.js";
import { nameField, scopeFields } from "./orderfields.js";
import { to } from "./router.js";

/** Shows the dialog of a verb: `spec` is `{title, says, typed, options, wide}`; `wide`: it is never of single topics. */
export function orderDialog(link, verb, { title, says, typed, options = {}, wide = false }) {
  const consequence = h("div", { class: "consequence", role: "status" });
  const wrong = h("p", { class: "bad", role: "alert", hidden: true });
  const why = h("input", { type: "text", maxlength: 500, placeholder: "for others: it is shown, and kept" });
  const fields = Object.entries(options).map(([key, { type, label, value }]) => {
    const shown = type === "checkbox" ? { checked: Boolean(value) } : { value, min: type === "number" ? 0 : null, step: type === "number" ? "any" : null };
    const input = h("input", { type, ...shown, onchange: () => tryIt() });
    return { key, input, element: type === "checkbox" ? h("label", { class: "check" }, input, label) : h("label", { class: "field" }, label, input) };
  });
  const given = () => Object.fromEntries(fields.filter(({ input }) => input.value !== "").map(({ key, input }) => [key, valueOf(input)]));
  const scope = wide ? { element: null, scope: () => ({}) } : scopeFields(() => tryIt());
  const gate = typed ? nameField(link, () => allow()) : null;
  const go = h("button", { class: typed ? "danger solid" : "primary", disabled: true }, `${title} ${link}`);
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = h("form", { method: "dialog" },
    h("h2", {}, `${title} `, name(link)), h("p", {}, says), scope.element, fields.map((each) => each.element),
    h("label", { class: "field" }, "Why", why), consequence, gate?.element, wrong, h("div", { class: "buttons" }, cancel, go));
  const dialog = h("dialog", { "aria-label": `${title} ${link}` }, form);
  let [tried, turn] = [false, 0];

  const allow = () => mark(go, "disabled", !tried || (gate && !gate.right()));
  const fail = (error) => {
    put(wrong, error?.message ?? "");
    mark(wrong, "hidden", !error);
  };
  async function tryIt() {
    const mine = (turn += 1);
    tried = false;
    allow();
    fail(null);
    const chosen = scope.scope();
    if (!chosen) return put(consequence, "");
    put(consequence, "Looking at what would be done…");
    try {
      const found = await post(ofLink(link, verb), { ...chosen, ...given(), dry_run: true });
      if (mine !== turn) return;
      tried = true;
      consequence.replaceChildren(...outcome(verb, found));
    } catch (error) {
      if (mine !== turn) return;
      put(consequence, "");
      fail(error);
    }
    allow();
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (go.disabled) return;
    mark(go, "disabled", true);
    try {
      const { operation } = await post(ofLink(link, verb), { ...scope.scope(), ...given(), why: why.value, confirm: link });
      dialog.close();
      location.hash = to("links", link, "operations", operation);
    } catch (error) {
      fail(error);
      allow();
    }
  });
  dialog.addEventListener("close", () => dialog.remove());
  addEventListener("hashchange", () => dialog.close(), { once: true });
  document.body.append(dialog);
  dialog.showModal();
  tryIt();
}

function valueOf(input) {
  if (input.type === "checkbox") return input.checked;
  return input.type === "number" ? Number(input.value) : input.value;
}

/** What a dry run says, for people. */
function outcome(verb, found) {
  const lines = [h("p", {}, h("b", {}, found.consequence ?? "This is what would be done."))];
  const rows = found.stranded ?? found.accepted;
  if (rows?.length) {
    const text = (row) => `${row.topic}-${row.partition}: ${row.records === undefined ? row.detail || row.reason : `${count(row.records)} records`}`;
    lines.push(h("ul", { class: "short", tabindex: 0, "aria-label": "Partitions" }, rows.slice(0, 200).map((row) => h("li", {}, text(row)))));
  }
  return lines;
}

