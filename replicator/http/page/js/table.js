// A table of any length: only rows near the visible part are elements, each kept by its key, and of these only cells
// that changed are touched. Rows have one height (`--row`). What has the focus is never taken away.

import { h, mark, put } from "./dom.js";

const AROUND = 12; // rows kept above and below what is visible
const ROW_PX = 32;
const FIRST_PX = 150; // of the first column, which stays in sight, on narrow screens

/**
 * `columns`: `{key, title, width, number, text(row), fill(cell, row), stamp(row), order(row)}`: the cell's text, or
 * `fill`, which is called when `stamp` changes. `keyOf(row)` names a row. Returns `{element, show(rows)}`.
 */
export function table({ label, columns, keyOf, sort = null, empty = "Nothing here." }) {
  let rows = [];
  let sorting = sort;
  let places = new Map(); // key -> place in the present order
  const living = new Map(); // key -> element
  const heads = columns.map((column) => head(column, () => resort(column)));
  const before = h("tr", { class: "space", "aria-hidden": "true" }, h("td", { colspan: columns.length }));
  const after = before.cloneNode(true);
  const body = h("tbody", {}, before, after);
  const nothing = h("p", { class: "empty" }, empty);
  const made = h("table", { class: "dense", "aria-label": label }, widths(columns), h("thead", {}, h("tr", {}, heads)), body);
  made.style.minWidth = `${columns.reduce((sum, column) => sum + (column.width ?? 100), 0)}px`;
  const box = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, made);
  const element = h("div", { class: "tabled" }, box, nothing);
  box.addEventListener("scroll", () => redraw(), { passive: true });
  new ResizeObserver(() => redraw()).observe(box);
  mark(nothing, "hidden", true);

  function resort(column) {
    const down = sorting?.key === column.key ? !sorting.down : Boolean(column.number);
    sorting = { key: column.key, down };
    order(true);
    redraw();
  }

  /** While somebody points at the table or is in it, rows keep their places: they would run away. */
  function order(anyway) {
    const column = columns.find((each) => each.key === sorting?.key);
    columns.forEach((each, at) => {
      const direction = each === column ? (sorting.down ? "descending" : "ascending") : null;
      mark(heads[at], "aria-sort", direction);
    });
    if (!column) return;
    const held = !anyway && (body.matches(":hover") || body.contains(document.activeElement));
    const value = column.order ?? column.text;
    const sign = sorting.down ? -1 : 1;
    const compare = (a, b) => sign * compared(value(a), value(b)) || compared(keyOf(a), keyOf(b));
    const place = (row) => places.get(keyOf(row)) ?? Infinity;
    rows.sort(held ? (a, b) => place(a) - place(b) || compare(a, b) : compare);
    places = new Map(rows.map((row, at) => [keyOf(row), at]));
  }

  function redraw() {
    const from = Math.max(0, Math.floor(box.scrollTop / ROW_PX) - AROUND);
    const until = Math.min(rows.length, Math.ceil((box.scrollTop + (box.clientHeight || 600)) / ROW_PX) + AROUND);
    const wanted = new Set();
    for (let at = from; at < until; at += 1) wanted.add(keyOf(rows[at]));
    for (const [key, line] of living) {
      if (wanted.has(key) || (line.contains(document.activeElement) && places.has(key))) continue;
      line.remove();
      living.delete(key);
    }
    let next = before;
    for (let at = from; at < until; at += 1) {
      const key = keyOf(rows[at]);
      let line = living.get(key);
      if (!line) living.set(key, (line = lineOf(columns)));
      write(line, rows[at], columns);
      mark(line, "aria-rowindex", at + 2);
      if (next.nextSibling !== line) next.after(line);
      next = line;
    }
    space(before, from);
    space(after, rows.length - until);
  }

  return {
    element,
    show(given) {
      rows = [...given];
      mark(made, "aria-rowcount", rows.length + 1);
      order(places.size === 0);
      if (!sorting) places = new Map(rows.map((row, at) => [keyOf(row), at]));
      mark(box, "hidden", rows.length === 0);
      mark(nothing, "hidden", rows.length > 0);
      redraw();
    },
  };
}

function widths(columns) {
  const narrow = matchMedia("(max-width: 640px)").matches;
  return h("colgroup", {}, columns.map((column, at) => {
    const col = h("col");
    if (!column.wide) col.style.width = `${at === 0 && narrow ? Math.min(FIRST_PX, column.width) : column.width ?? 100}px`;
    return col;
  }));
}

function head(column, sort) {
  const title = column.order || column.text ? h("button", { type: "button", onclick: sort }, column.title) : column.title;
  return h("th", { scope: "col", class: column.number ? "number" : null }, title);
}

function lineOf(columns) {
  return h("tr", {}, columns.map((column, at) =>
    h(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : null, class: column.number ? "number" : null })));
}

function write(line, row, columns) {
  columns.forEach((column, at) => {
    const cell = line.children[at];
    if (!column.fill) {
      put(cell, column.text(row));
      return;
    }
    const stamp = column.stamp ? column.stamp(row) : column.text(row);
    if (cell.stamp === stamp) return;
    cell.stamp = stamp;
    column.fill(cell, row);
  });
}

function space(line, rows) {
  const height = `${Math.max(0, rows) * ROW_PX}px`;
  if (line.firstChild.style.height !== height) line.firstChild.style.height = height;
  mark(line, "hidden", rows <= 0);
}

function compared(a, b) {
  if (typeof a === "string" || typeof b === "string") {
    return String(a) < String(b) ? -1 : Number(String(a) > String(b));
  }
  return (a ?? -1) - (b ?? -1);
}

/** A short table whose cells may have several lines; on narrow screens each row becomes a card. */
export function list({ label, columns, rows, empty = "Nothing here.", most = 300 }) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const titles = columns.map((column) => h("th", { scope: "col", role: "columnheader", class: column.number ? "number" : null }, column.title));
  const lines = rows.slice(0, most).map((row) =>
    h("tr", { role: "row" }, columns.map((column, at) => {
      const shown = column.show(row);
      const kind = column.number ? "number" : column.kind;
      return h(at ? "td" : "th", { role: at ? "cell" : "rowheader", scope: at ? null : "row", class: kind, "data-title": column.title }, shown);
    })));
  const more = rows.length > most ? h("p", { class: "more" }, `${(rows.length - most).toLocaleString("en")} more`) : null;
  return h("div", { class: "listed" },
    h("table", { class: "list", role: "table", "aria-label": label },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, titles)), h("tbody", { role: "rowgroup" }, lines)), more);
}
