// Lines over time, drawn by uPlot, which is loaded when the first chart is wanted.

import { h } from "./dom.js";
import { colour, onTheme } from "./theme.js";

const SHORTEST_S = 180;
let library = null;

/** A chart of `{title, show(value)}`; returns `{element, draw(at, values)}`. Until uPlot is there nothing is drawn. */
export function chart({ title, show }, signal) {
  const plot = h("div", { class: "plot", role: "img", "aria-label": `${title} in the last minutes` });
  const element = h("figure", { class: "chart" }, h("figcaption", {}, title), plot);
  let drawn = null;
  let data = [[], []];
  const make = async () => {
    library ??= import("../vendor/uplot/uPlot.esm.js");
    const { default: UPlot } = await library;
    if (signal.aborted) return;
    drawn?.destroy();
    drawn = new UPlot(options(UPlot, plot, title, show), data, plot);
  };
  const size = new ResizeObserver(() => drawn?.setSize({ width: plot.clientWidth, height: plot.clientHeight }));
  size.observe(plot);
  signal.addEventListener("abort", () => {
    size.disconnect();
    drawn?.destroy();
  });
  onTheme(make, signal);
  requestAnimationFrame(make);
  return {
    element,
    draw(at, values) {
      data = [at, values];
      if (drawn && !document.hidden) drawn.setData(data);
    },
  };
}

function options(UPlot, plot, title, show) {
  const [line, ink, grid] = [colour("--accent"), colour("--soft"), colour("--line")];
  const axis = { stroke: ink, font: "11px Arial, sans-serif", grid: { stroke: grid, width: 1 }, ticks: { show: false } };
  const seconds = (from, to) => [Math.min(from, to - SHORTEST_S), to];
  return {
    padding: [10, 6, 0, 0],
    width: plot.clientWidth,
    height: plot.clientHeight,
    cursor: { sync: { key: "time" }, drag: { x: false, y: false }, points: { size: 6 } },
    legend: { show: true },
    scales: {
      x: { time: true, range: (_, from, to) => (from === null ? [0, SHORTEST_S] : seconds(from, to)) },
      y: { range: (_, from, to) => [0, Math.max(1, (to ?? 0) * 1.15)] },
    },
    axes: [
      { ...axis, size: 24, space: 80, values: (_, ticks) => ticks.map((at) => clock(at)) },
      { ...axis, size: 52, space: 34, values: (_, ticks) => ticks.map(show) },
    ],
    series: [
      { label: "at", value: (_, at) => (at === null ? "–" : clock(at)) },
      {
        label: title, stroke: line, width: 1.5, fill: line.replace(/^rgb\((.*)\)$/, "rgba($1, 0.10)"), points: { show: false },
        paths: UPlot.paths.linear(), value: (_, value) => show(value),
      },
    ],
  };
}

function clock(seconds) {
  return new Date(seconds * 1000).toTimeString().slice(0, 8);
}
