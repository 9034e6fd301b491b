// A line as small as a word.

import { mark, svg } from "./dom.js";

const POINTS = 90;

/** Returns `{element, draw(values)}`; the latest ninety values are drawn. */
export function spark(label) {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line" });
  const attributes = { class: "spark", viewBox: `0 0 ${POINTS - 1} 20`, preserveAspectRatio: "none", role: "img" };
  const element = svg("svg", { ...attributes, "aria-label": label }, area, line);
  return {
    element,
    draw(values) {
      const shown = values.slice(-POINTS);
      const top = Math.max(1, ...shown);
      const start = POINTS - shown.length;
      const points = shown.map((value, at) => `${start + at},${(19 - ((value ?? 0) / top) * 17).toFixed(1)}`);
      const path = points.length > 1 ? `M${points.join("L")}` : "";
      mark(line, "d", path);
      mark(area, "d", path && `${path}L${POINTS - 1},20L${start},20Z`);
    },
  };
}
