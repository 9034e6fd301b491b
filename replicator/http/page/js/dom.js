// Elements without markup in strings: what comes from clusters is only ever text.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `on…` attributes are listeners; null, undefined and false leave an attribute or a child out. */
export function h(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** As `h`, for drawings. */
export function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Sets the text if it is another one, so that nothing is laid out anew for the same. */
export function put(element, text) {
  const wanted = String(text ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
  return element;
}

/** Sets or takes away an attribute if that changes anything. */
export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const wanted = value === true ? "" : String(value);
  if (element.getAttribute(name) !== wanted) element.setAttribute(name, wanted);
}

/** Fills the element anew if `stamp` is another one than before. */
export function refill(element, stamp, make) {
  if (element.stamp === stamp) return;
  element.stamp = stamp;
  element.replaceChildren(...[make()].flat().filter(Boolean));
}

/** A name from a cluster: as it is, kept apart from the direction of the text around it. */
export function name(text, kind = "name") {
  return h("bdi", { class: kind }, text);
}
