// What is said to those who listen: changes of states, not numbers, and not more often than can be heard.

import { ofLink } from "./states.js";

const EVERY_MS = 3000;
const said = new Map(); // link -> what was known of it
let due = [];
let last = 0;
let timer = null;

/** Says a sentence; several within three seconds become one. */
export function announce(text) {
  due.push(text);
  timer ??= setTimeout(speak, Math.max(0, last + EVERY_MS - Date.now()));
}

/** Says which links are in another state than before. */
export function announceChanges(live) {
  for (const link of live.links) {
    const { word } = ofLink(link);
    const before = said.get(link.name);
    said.set(link.name, word);
    if (before !== undefined && before !== word) announce(`Link ${link.name}: ${word}`);
  }
}

function speak() {
  timer = null;
  last = Date.now();
  document.getElementById("said").textContent = due.slice(-4).join(". ");
  due = [];
}
