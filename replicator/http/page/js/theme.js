// Light or dark: as the system has it, unless somebody chose.

import { h } from "./dom.js";
import { icon } from "./icons.js";

const KEY = "replicator.theme";
const CHOICES = { auto: "half", light: "sun", dark: "moon" };

export function applyTheme() {
  const chosen = localStorage.getItem(KEY);
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}

/** Calls `changed` whenever colours are others. */
export function onTheme(changed, signal) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed, { signal });
  document.addEventListener("themechange", changed, { signal });
}

/** The switch. */
export function themeSwitch() {
  const button = h("button", { type: "button", class: "quiet" });
  const show = () => {
    const chosen = document.documentElement.dataset.theme ?? "auto";
    button.replaceChildren(icon(CHOICES[chosen]));
    button.setAttribute("aria-label", `Colours: ${chosen}`);
    button.title = `Colours: ${chosen}`;
  };
  button.addEventListener("click", () => {
    const names = Object.keys(CHOICES);
    const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % names.length];
    localStorage.setItem(KEY, next);
    applyTheme();
    show();
    document.dispatchEvent(new Event("themechange"));
  });
  show();
  return button;
}

/** A colour of the style sheet as the canvas needs it. */
export function colour(variable) {
  const probe = document.body.appendChild(h("span", { class: "unseen" }));
  probe.style.color = `var(${variable})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
