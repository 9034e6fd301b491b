// What each state is called and how it looks: always a drawing and a word, never a colour alone.

import { h, mark, put } from "./dom.js";
import { icon } from "./icons.js";

const STATES = {
  FAULTED: { word: "Faulted", tone: "bad", rank: 6 },
  FAILED_OVER: { word: "Failed over", tone: "moved", rank: 4 },
  PROMOTED: { word: "Promoted", tone: "moved", rank: 3 },
  PAUSED: { word: "Paused", tone: "warn", rank: 5 },
  PENDING: { word: "Pending", tone: "soft", rank: 2 },
  COPYING: { word: "Copying", tone: "good", rank: 1 },
  ASLEEP: { word: "Asleep", tone: "soft", rank: 0.5 },
};

/** The states in the order of how much they want to be looked at. */
export const BY_RANK = Object.keys(STATES).sort((one, other) => STATES[other].rank - STATES[one].rank);

export function known(state) {
  return STATES[state] ?? { word: state ?? "Unknown", tone: "soft", rank: 0 };
}

/** The state that wants to be looked at most; null of nothing. */
export function worst(states) {
  let found = null;
  for (const state of states) if (found === null || known(state).rank > known(found).rank) found = state;
  return found;
}

/** `icon` and `word` in this tone. */
export function badge(word, tone, drawing) {
  return h("span", { class: `badge ${tone}` }, icon(drawing), h("span", {}, word));
}

/** The badge of a partition's or topic's state. */
export function stateBadge(state) {
  const { word, tone } = known(state);
  return badge(word, tone, state?.toLowerCase());
}

/** Sets what a badge says; builds its drawing anew only if that changes. */
export function setBadge(element, word, tone, drawing) {
  mark(element, "class", `badge ${tone}`);
  if (element.drawing !== drawing || !element.firstChild) {
    element.drawing = drawing;
    element.replaceChildren(icon(drawing), h("span", {}, word));
  } else put(element.lastChild, word);
  return element;
}

/** How a link is as a whole, by its summary: `{word, tone, drawing}`. */
export function ofLink(link) {
  const states = link.states ?? {};
  if (link.error) return { word: "Target away", tone: "bad", drawing: "bad" };
  if (link.at === null) return { word: "Looking…", tone: "soft", drawing: "pending" };
  const faulted = states.FAULTED ?? 0;
  if (faulted) return { word: `${faulted.toLocaleString("en")} faulted`, tone: "bad", drawing: "faulted" };
  const moved = (states.FAILED_OVER ?? 0) + (states.PROMOTED ?? 0);
  if (moved && moved === link.partitions) {
    const state = worst(Object.keys(states));
    return { word: known(state).word, tone: "moved", drawing: state.toLowerCase() };
  }
  if (link.source_error) return { word: "Source away", tone: "bad", drawing: "bad" };
  if (!link.workers) return { word: "No worker", tone: "bad", drawing: "bad" };
  const state = worst(Object.keys(states).filter((each) => states[each])) ?? "PENDING";
  const { word, tone } = known(state);
  const some = state !== "COPYING" && states[state] !== link.partitions;
  const shown = some ? `${states[state].toLocaleString("en")} ${word.toLowerCase()}` : word;
  return { word: shown, tone, drawing: state.toLowerCase() };
}
