// Calls of the service: the same paths as the AWS SDKs use, with the console's token instead of a signature.

const TOKEN = "msk.token";
const REGION = "msk.region";
export const REGIONS = ["us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1"];

/** Takes the token out of the address, so that it isn't in what people copy. */
export function takeToken() {
  const found = /[#&]token=([\w-]+)/.exec(location.hash);
  if (!found) return;
  sessionStorage.setItem(TOKEN, found[1]);
  history.replaceState(null, "", "#/");
}

export function region() {
  const kept = localStorage.getItem(REGION);
  return REGIONS.includes(kept) ? kept : REGIONS[0];
}

export function setRegion(name) {
  localStorage.setItem(REGION, name);
}

/** What the service said against a call. `kind` is the exception's name. */
export class Refused extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/** Asks the service; `body` makes it a JSON request. */
export async function call(method, path, { body, signal, where = region() } = {}) {
  const headers = { "X-Console-Token": sessionStorage.getItem(TOKEN) ?? "", "X-Console-Region": where };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(`service${path}`, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("Unreachable", "The control plane doesn't answer. Is it still running?");
  }
  const text = await response.text();
  const answer = text ? JSON.parse(text) : {};
  if (!response.ok) throw new Refused(answer.__type ?? String(response.status), answer.message ?? response.statusText);
  return answer;
}

export const get = (path, options) => call("GET", path, options);

/** All pages of a list. */
export async function all(path, member, options) {
  const found = [];
  let next = null;
  do {
    const query = next ? `${path.includes("?") ? "&" : "?"}nextToken=${encodeURIComponent(next)}` : "";
    const answer = await get(path + query, options);
    found.push(...(answer[member] ?? []));
    next = answer.nextToken;
  } while (next);
  return found;
}

/** An ARN as it stands in paths. */
export const arnPath = (arn) => encodeURIComponent(arn);

/** The region that an ARN is of. */
export const regionOf = (arn) => arn.split(":")[3];

/** What a replicator does just now; null where it isn't known. */
export async function monitoring(arn, { signal, where }) {
  const headers = { "X-Console-Token": sessionStorage.getItem(TOKEN) ?? "", "X-Console-Region": where };
  const response = await fetch(`monitoring?arn=${encodeURIComponent(arn)}`, { headers, signal });
  const answer = await response.json();
  if (!response.ok) throw new Refused(answer.__type ?? String(response.status), answer.message ?? response.statusText);
  return answer;
}
