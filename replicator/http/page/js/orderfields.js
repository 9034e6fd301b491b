// Fields that orders share: which topics, and the link's name, typed.

import { h, name } from "./dom.js";

let fields = 0; // so that a dialog's and the page's have ids of their own

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
  const id = `typed-${(fields += 1)}`;
  const field = h("input", { type: "text", class: "name", id, autocomplete: "off", spellcheck: "false", oninput: changed });
  const element = h("div", { class: "typed" }, h("label", { for: id }, "Type the link's name, ", h("b", {}, name(link)), ", to go on"), field);
  return { element, right: () => field.value === link };
}
