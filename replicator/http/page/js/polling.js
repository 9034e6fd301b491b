// Views that are asked for again and again, while somebody looks at them.

import { get } from "./api.js";

const SHARE = 25; // of the time, at most one part in so many is spent on showing
const REST = 2; // times what an answer took: whoever is slow, or far away, is asked less often
const kept = new Map(); // path -> the last answer, to be shown at once on coming back
const KEPT_MAX = 30;

/**
 * Calls `show(answer, at)` now with what is known, then with each new answer, until the signal aborts.
 * `failed(problem)` hears why there is none; it is tried again all the same.
 */
export function poll(path, { every = 1000, signal, failed = () => {} }, show) {
  const known = kept.get(path);
  if (known) queueMicrotask(() => signal.aborted || show(known.answer, known.at));
  const run = async () => {
    while (!signal.aborted) {
      let spent = 0;
      const asked = performance.now();
      try {
        const answer = await get(path, signal);
        if (signal.aborted) return;
        const began = performance.now();
        spent = (began - asked) * REST;
        remember(path, answer);
        show(answer, Date.now());
        spent = Math.max(spent, (performance.now() - began) * SHARE);
      } catch (error) {
        if (signal.aborted || error.name === "AbortError") return;
        spent = (performance.now() - asked) * REST;
        failed(error);
      }
      await pause(Math.max(every, spent), signal);
    }
  };
  run();
}

function remember(path, answer) {
  kept.delete(path);
  kept.set(path, { answer, at: Date.now() });
  if (kept.size > KEPT_MAX) kept.delete(kept.keys().next().value);
}

/** Waits; longer while nobody can see the page. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const seen = () => document.hidden || done();
    const done = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      resolve();
    };
    const timer = setTimeout(() => (document.hidden ? document.addEventListener("visibilitychange", seen) : done()), ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
