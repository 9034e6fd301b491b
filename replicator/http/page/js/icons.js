// Small line drawings, 16 by 16; always beside a word, so hidden from those who listen.

import { svg } from "./dom.js";

const PATHS = {
  copying: "M2.5 8h10M9 4.5 12.5 8 9 11.5",
  pending: "M8 4.5V8l2.5 1.5M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2Z",
  paused: "M5.5 3.5v9M10.5 3.5v9",
  faulted: "M8 5.5v3.2M8 11.2v.1M8 2 14.5 13.5h-13Z",
  promoted: "M8 13V3.5M4 7l4-4 4 4",
  failed_over: "M3 3.5c0 6 4 6 9.5 6M9.5 6.5l3.2 3-3.2 3",
  asleep: "M5 3.5h6L5 12.5h6",
  good: "M3 8.5 6.5 12 13 4.5",
  bad: "M4 4l8 8M12 4l-8 8",
  unknown: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2ZM8 11.2v.1M6.3 6.2c.3-2.2 3.6-2 3.4.1-.1 1.2-1.7 1.2-1.7 2.4",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8Z",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6ZM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z",
  half: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2ZM8 2v12M8 5h4.8M8 8h6M8 11h4.8",
  down: "M4 6.5l4 4 4-4",
  worker: "M2.5 3h11v4h-11ZM2.5 9h11v4h-11ZM5 5v.1M5 11v.1",
};

/** The drawing of this name. */
export function icon(which) {
  const path = svg("path", { d: PATHS[which] ?? PATHS.unknown });
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" }, path);
}
