// Requests to the service. A token, once given, stays in this tab's session storage and nowhere else.

const TOKEN = "replicator.token";
const waiting = new Set(); // told when a token was given
let askForToken = () => {};

/** An answer that isn't what was asked for; `status` is 0 if there was none. */
export class Problem extends Error {
  constructor(status, message, body = null) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

/** Who is to be called when a token is needed. */
export function onTokenNeeded(call) {
  askForToken = call;
}

export function giveToken(token) {
  sessionStorage.setItem(TOKEN, token);
  for (const go of [...waiting]) go();
  waiting.clear();
}

/** Resolves when somebody has given a token. */
export function tokenGiven() {
  return new Promise((resolve) => waiting.add(resolve));
}

/** The answer itself; asks for a token, and again, as long as one is needed. */
export async function request(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "the service doesn't answer");
    }
    if (answer.status !== 401) return answer;
    const given = tokenGiven();
    if (token === sessionStorage.getItem(TOKEN)) askForToken(token !== null); // else: somebody gave one meanwhile
    else giveToken(sessionStorage.getItem(TOKEN));
    await given;
  }
}

/** JSON of a view. */
export async function get(path, signal) {
  return read(await request(path, { signal }));
}

/** Gives an order; the answer's JSON. */
export async function post(path, body) {
  const options = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return read(await request(path, options));
}

/** The path of a link's view or verb. */
export function ofLink(link, view, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const asked = given.length ? `?${new URLSearchParams(given)}` : "";
  return `v1/links/${encodeURIComponent(link)}${view ? `/${view}` : ""}${asked}`;
}

async function read(answer) {
  let body = null;
  try {
    body = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (answer.ok) throw new Problem(answer.status, "the answer isn't JSON");
  }
  if (!answer.ok) throw new Problem(answer.status, said(answer, body), body);
  return body;
}

function said(answer, body) {
  const text = typeof body?.error === "string" ? body.error : answer.statusText || `status ${answer.status}`;
  return answer.status === 403 ? `${text} (this token may only look)` : text;
}
