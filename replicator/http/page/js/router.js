// Addresses behind the `#`: `#/links/NAME/topics/TOPIC?q=…`. Each part is percent-encoded, whatever a name holds.

/** The address of these parts. */
export function to(...parts) {
  return `#/${parts.map((part) => encodeURIComponent(part)).join("/")}`;
}

/** `{parts, query}` of an address. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return { parts: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

/** Changes the query of the present address without a new entry in the history. */
export function setQuery(key, value) {
  const { parts, query } = parse(location.hash);
  if (value) query.set(key, value);
  else query.delete(key);
  const text = query.toString();
  history.replaceState(null, "", to(...parts) + (text ? `?${text}` : ""));
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
