// What every view hears once a second: summaries of the links, as Server-Sent Events.
// Read with fetch, since EventSource can't send a token.

import { request } from "./api.js";

const KEPT = 900; // samples of each link: fifteen minutes
const SILENT_MS = 6000; // after so long without a word the connection counts as broken
const LONGEST_MS = 15_000;
const UNSEEN_MS = 20_000; // a hidden page rests after so long: browsers share few connections among all tabs

/** `state` is "connecting", "live", "lost" or, while nobody sees the page, "resting"; `since` says since when it is lost, `retry` when it is tried again. */
export const live = { state: "connecting", since: null, retry: null, why: "", at: null, links: [], history: new Map() };

const RESTING = "resting";
const listeners = new Set();
let hurry = () => {};

/** Calls `listen` with every change until the signal aborts, and once now if there is something to tell. */
export function hear(listen, signal) {
  listeners.add(listen);
  signal?.addEventListener("abort", () => listeners.delete(listen));
  if (live.at !== null) listen(live);
}

/** Tries to connect now instead of later. */
export function tryNow() {
  hurry();
}

/** Reads for as long as the page lives. */
export async function follow() {
  for (let tries = 0; ; tries += 1) {
    await seen();
    const stop = new AbortController();
    restWhenHidden(stop);
    try {
      await read(stop, () => (tries = 0));
      lose("the service ended the connection");
    } catch (error) {
      if (stop.signal.reason === RESTING) {
        live.state = "resting";
        continue;
      }
      lose(error.name === "AbortError" ? "the service has fallen silent" : error.message);
    } finally {
      stop.abort();
    }
    const pause = Math.min(LONGEST_MS, 1000 * 2 ** Math.min(tries, 10)) * (0.8 + Math.random() * 0.4);
    live.retry = Date.now() + pause;
    tell();
    await new Promise((resolve) => {
      hurry = resolve;
      setTimeout(resolve, pause);
    });
    live.retry = null;
  }
}

/** Resolves when somebody can see the page. */
function seen() {
  if (!document.hidden) return null;
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

/** Ends the connection when the page was hidden for a while. */
function restWhenHidden(stop) {
  let timer = null;
  const change = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => stop.abort(RESTING), UNSEEN_MS);
  };
  document.addEventListener("visibilitychange", change, { signal: stop.signal });
  change();
}

async function read(stop, connected) {
  const answer = await request("v1/events", { signal: stop.signal, headers: { Accept: "text/event-stream" } });
  if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error ?? `status ${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const silence = setTimeout(() => stop.abort(), SILENT_MS);
    const { value, done } = await reader.read();
    clearTimeout(silence);
    if (done) return;
    const events = (text + value).split(/\r?\n\r?\n/);
    text = events.pop();
    for (const event of events) if (take(event)) connected();
  }
}

function take(event) {
  const fields = new Map();
  for (const line of event.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    const [key, value] = [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
    if (colon > 0) fields.set(key, fields.has(key) ? `${fields.get(key)}\n${value}` : value);
  }
  if (fields.get("event") !== "links") return false;
  const { at, links } = JSON.parse(fields.get("data"));
  live.state = "live";
  live.since = null;
  live.at = at;
  live.links = links;
  for (const link of links) remember(link, at / 1000);
  tell();
  return true;
}

function remember(link, at) {
  let kept = live.history.get(link.name);
  if (!kept) live.history.set(link.name, (kept = { at: [], lag: [], records: [], bytes: [] }));
  if (kept.at.length && at <= kept.at.at(-1)) return;
  kept.at.push(at);
  kept.lag.push(link.lag ?? null);
  kept.records.push(link.records_per_s ?? null);
  kept.bytes.push(link.bytes_per_s ?? null);
  if (kept.at.length > KEPT) for (const series of Object.values(kept)) series.shift();
}

function lose(why) {
  live.why = why;
  if (live.state !== "lost") {
    live.state = "lost";
    live.since = Date.now();
  }
  tell();
}

function tell() {
  for (const listen of [...listeners]) {
    try {
      listen(live);
    } catch (error) {
      reportError(error); // of one view: the others go on, and so does the connection
    }
  }
}
