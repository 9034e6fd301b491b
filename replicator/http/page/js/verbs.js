// Orders to a link. Each is tried first (`dry_run`), says what will come of it, and only then can be given.

import { ofLink, post } from "./api.js";
import { h, mark, name, put } from "./dom.js";
import { count } from "./format.js";
import { mayOperate, me } from "./me.js";
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

/** The buttons of a link; for those who may only look, a word instead. */
export function verbButtons(link, signal) {
  const buttons = Object.entries(VERBS).map(([verb, { title, typed }]) =>
    h("button", { type: "button", onclick: () => verbDialog(link, verb) }, typed ? `${title}…` : title));
  const failover = h("a", { class: "button danger", href: to("links", link, "failover") }, "Failover…");
  const element = h("div", { class: "verbs", role: "group", "aria-label": "Orders" }, buttons, failover);
  me().then((who) => {
    if (!signal.aborted && !mayOperate(who)) element.replaceChildren(h("span", { class: "soft" }, `${who.name} may only look`));
  }, () => {});
  return element;
}

/** Which topics: all, or those whose names match. `changed(scope)` hears `{all}` or `{topic}`; null while none is named. */
export function scopeFields(changed) {
  const pattern = h("input", { type: "text", class: "name", "aria-label": "Regular expression for whole names of source topics", placeholder: "orders.*", disabled: true });
  const radio = (value, checked) => h("input", { type: "radio", name: "scope", value, checked });
  const [all, some] = [radio("all", true), radio("some", false)];
  const scope = () => (all.checked ? { all: true, topic: null } : pattern.value ? { all: false, topic: pattern.value } : null);
  const tell = () => {
    pattern.disabled = all.checked;
    changed(scope());
  };
  all.addEventListener("change", tell);
  some.addEventListener("change", () => {
    tell();
    pattern.focus();
  });
  pattern.addEventListener("change", tell);
  const element = h("fieldset", {}, h("legend", {}, "Which topics"),
    h("label", {}, all, "all, also those that come later"), h("label", {}, some, "whose whole name matches", pattern));
  return { element, scope };
}

/** The last gate: the link's name, typed. `changed()` hears every key. */
export function nameField(link, changed) {
  const field = h("input", { type: "text", class: "name", id: "typed", autocomplete: "off", spellcheck: "false", oninput: changed });
  const element = h("div", { class: "typed" }, h("label", { for: "typed" }, "Type the link's name, ", h("b", {}, name(link)), ", to go on"), field);
  return { element, right: () => field.value === link };
}

/** The dialog of a verb. */
export function verbDialog(link, verb) {
  const { title, says, typed, options = {} } = VERBS[verb];
  const consequence = h("div", { class: "consequence", role: "status" });
  const wrong = h("p", { class: "bad", role: "alert", hidden: true });
  const why = h("input", { type: "text", id: "why", maxlength: 500, placeholder: "for others: it is shown, and kept" });
  const fields = Object.entries(options).map(([key, { type, label, value }]) => {
    const input = h("input", { type, value, min: 0, id: `option-${key}`, onchange: () => tryIt() });
    return { key, input, element: type === "checkbox" ? h("label", { class: "check" }, input, label) : h("label", { class: "field" }, label, input) };
  });
  const given = () => Object.fromEntries(fields.map(({ key, input }) => [key, input.type === "checkbox" ? input.checked : Number(input.value)]));
  const scope = scopeFields(() => tryIt());
  const gate = typed ? nameField(link, () => allow()) : null;
  const go = h("button", { class: typed ? "danger solid" : "primary", disabled: true }, `${title} ${link}`);
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = h("form", { method: "dialog" },
    h("h2", {}, `${title} `, name(link)), h("p", {}, says), scope.element, fields.map((each) => each.element),
    h("label", { class: "field", for: "why" }, "Why", why), consequence, gate?.element, wrong, h("div", { class: "buttons" }, cancel, go));
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

