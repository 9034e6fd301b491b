// The page of one worker or of a parent: asks /v1/status every two seconds and shows it. No dependencies, no build.

const EVERY_MS = 2000;
const MAX_ROWS = 300; // per link; the filter reaches the others
const SPARK_POINTS = 60;
const COLUMNS = [
  { key: "topic", title: "Topic" },
  { key: "partition", title: "Partition", number: true },
  { key: "state", title: "State" },
  { key: "lag", title: "Lag", number: true, show: (row) => count(row.lag) },
  { key: "lag_ms", title: "Behind", number: true, show: (row) => age(row.lag_ms) },
  { key: "rate", title: "Records/s", number: true, show: (row) => count(row.rate) },
  { key: "source_next", title: "Source next", number: true, show: (row) => count(row.source_next) },
  { key: "source_end", title: "Source end", number: true, show: (row) => count(row.source_end) },
  { key: "target_next", title: "Target next", number: true, show: (row) => count(row.target_next) },
  { key: "detail", title: "Why, and what next", show: explain, kind: "detail" },
];

const $ = (id) => document.getElementById(id);
const before = new Map(); // link/topic/partition -> {at, next, rate}
const history = new Map(); // link -> rates
const sorting = new Map(); // link -> {key, down}
let latest = null;
let paused = false;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function count(value) {
  if (value === null || value === undefined || value < 0) return "–";
  return Math.round(value).toLocaleString("en");
}

function age(ms) {
  if (ms === null || ms === undefined || ms < 0) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

function explain(row) {
  if (!row.reason) return "";
  const since = row.since ? ` (since ${row.since})` : "";
  return [row.reason + since, row.detail, row.next_step].filter(Boolean).join(": ");
}

function measure(status) {
  const now = performance.now();
  for (const link of status.links) {
    let total = 0;
    for (const row of link.partitions) {
      const key = `${link.name}/${row.topic}/${row.partition}`;
      const last = before.get(key);
      if (last && row.source_next >= last.next && now > last.at) {
        row.rate = ((row.source_next - last.next) * 1000) / (now - last.at);
        total += row.rate;
      }
      before.set(key, { at: now, next: row.source_next });
    }
    link.rate = total;
    const rates = history.get(link.name) ?? [];
    rates.push(total);
    history.set(link.name, rates.slice(-SPARK_POINTS));
  }
}

function spark(rates) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${SPARK_POINTS - 1} 10`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "spark");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "Records per second in the last two minutes");
  const top = Math.max(1, ...rates);
  const start = SPARK_POINTS - rates.length;
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const points = rates.map((rate, index) => `${start + index},${(9.5 - (rate / top) * 9).toFixed(2)}`);
  path.setAttribute("d", points.length > 1 ? `M${points.join("L")}` : "");
  svg.append(path);
  return svg;
}

function figure(value, label) {
  return element("div", { class: "figure" }, element("b", {}, value), element("span", {}, label));
}

function ordered(link, rows) {
  const { key, down } = sorting.get(link.name) ?? { key: null, down: true };
  const worst = (row) => (row.state === "FAULTED" ? 2 : row.state === "COPYING" ? 0 : 1);
  const compare = key
    ? (a, b) => {
        const [x, y] = [a[key] ?? -1, b[key] ?? -1];
        const order = typeof x === "string" ? x.localeCompare(String(y)) : x - y;
        return down ? -order : order;
      }
    : (a, b) => worst(b) - worst(a) || b.lag - a.lag || a.topic.localeCompare(b.topic) || a.partition - b.partition;
  return rows.sort(compare);
}

function table(link, rows) {
  const sort = sorting.get(link.name);
  const head = element("tr");
  for (const column of COLUMNS) {
    const cell = element("th", { class: column.number && "number", scope: "col", tabindex: 0 }, column.title);
    if (sort?.key === column.key) cell.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
    const turn = () => {
      sorting.set(link.name, { key: column.key, down: sort?.key === column.key ? !sort.down : Boolean(column.number) });
      render();
    };
    cell.addEventListener("click", turn);
    cell.addEventListener("keydown", (event) => event.key === "Enter" && turn());
    head.append(cell);
  }
  const body = element("tbody");
  for (const row of rows.slice(0, MAX_ROWS)) {
    const line = element("tr");
    for (const column of COLUMNS) {
      const text = column.show ? column.show(row) : String(row[column.key] ?? "");
      const shown = column.key === "state" ? element("span", { class: `pill ${row.state}` }, text) : text;
      line.append(element("td", { class: column.number ? "number" : column.kind }, shown));
    }
    body.append(line);
  }
  return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), body));
}

function card(link, words) {
  const states = new Map();
  let [lag, behind] = [0, 0];
  for (const row of link.partitions) {
    states.set(row.state, (states.get(row.state) ?? 0) + 1);
    lag += Math.max(0, row.lag ?? 0);
    behind = Math.max(behind, row.lag_ms ?? 0);
  }
  const matches = (row) => {
    const text = `${row.topic} ${row.partition} ${row.state} ${row.reason ?? ""} ${row.detail ?? ""}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
  const rows = ordered(link, link.partitions.filter(matches));
  const pills = [...states].map(([state, many]) => element("span", { class: `pill ${state}` }, `${many} ${state.toLowerCase()}`));
  const head = element(
    "div", { class: "head" },
    element("div", {}, element("h2", {}, link.name), element("span", { class: "way" }, `${link.source} → ${link.target}`)),
    figure(count(link.rate), "records/s"),
    figure(count(lag), "records of lag"),
    figure(age(behind), "furthest behind"),
    figure(count(link.partitions.length), "partitions"),
    figure(count(link.workers?.length ?? 0), "workers"),
    spark(history.get(link.name) ?? []),
    element("div", {}, ...pills),
  );
  const parts = [head, table(link, rows)];
  if (rows.length > MAX_ROWS) {
    parts.push(element("div", { class: "more" }, `${count(rows.length - MAX_ROWS)} more: narrow the filter`));
  } else if (!rows.length) {
    parts.push(element("div", { class: "more" }, link.partitions.length ? "Nothing matches." : "No partitions yet."));
  }
  return element("section", { "aria-label": link.name }, ...parts);
}

function render() {
  if (!latest) return;
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const scrolled = [...document.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  $("links").replaceChildren(...latest.links.map((link) => card(link, words)));
  document.querySelectorAll(".scroll").forEach((box, index) => (box.scrollLeft = scrolled[index] ?? 0));
}

function say(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function health(text, kind) {
  $("health").textContent = text;
  $("health").className = `pill ${kind}`;
}

async function ask(path) {
  const token = sessionStorage.getItem("token");
  return fetch(path, { headers: token ? { Authorization: `Bearer ${token}` } : {}, cache: "no-store" });
}

async function refresh() {
  if (paused || document.hidden) return;
  try {
    const [answer, readiness] = await Promise.all([ask("v1/status"), ask("readyz")]);
    $("login").hidden = answer.status !== 401;
    if (answer.status === 401) {
      health("token needed", "warn");
      return;
    }
    const status = await answer.json();
    if (!answer.ok) throw new Error(status.error ?? answer.statusText);
    const { ready, reasons } = await readiness.json();
    measure(status);
    latest = status;
    const faulted = status.links.flatMap((link) => link.partitions).filter((row) => row.state === "FAULTED").length;
    if (faulted) health(`${count(faulted)} faulted`, "bad");
    else health(ready ? "ready" : "not ready", ready ? "good" : "warn");
    say(ready ? "" : (reasons ?? []).join(" · "));
    render();
  } catch (error) {
    health("no answer", "bad");
    say(`No fresh data: ${error.message}`);
  }
}

async function loop() {
  await refresh();
  setTimeout(loop, EVERY_MS);
}

$("filter").addEventListener("input", render);
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
});
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  $("token").value = "";
  refresh();
});
document.addEventListener("visibilitychange", refresh);
loop();
