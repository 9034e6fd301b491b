// Asks for the token that the service wants.

import { giveToken } from "./api.js";
import { h } from "./dom.js";

let open = null;

/** Shows the dialog, once; `wrong` when a token was given that isn't right. */
export function tokenDialog(wrong) {
  if (open) return;
  const field = h("input", { type: "password", id: "token", autocomplete: "off", required: true, "aria-describedby": "token-hint" });
  const hint = h("p", { id: "token-hint", class: wrong ? "bad" : "soft" },
    wrong ? "That token isn't right. Ask for another one." : "This service shows its data to those who have a token.");
  const form = h("form", { method: "dialog" },
    h("h2", {}, "Token needed"), hint, h("label", { for: "token" }, "Token"), field,
    h("p", { class: "soft small" }, "It is kept in this tab until the tab is closed."),
    h("div", { class: "buttons" }, h("button", { class: "primary" }, "Continue")));
  open = h("dialog", { class: "small-dialog", "aria-label": "Token needed" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const token = field.value.trim();
    if (!token) return;
    open.close();
    open.remove();
    open = null;
    giveToken(token);
  });
  open.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing behind it to go back to
  document.body.append(open);
  open.showModal();
}
