// Numbers and times for people; "–" where a number isn't known.

const NONE = "–";
const UNITS = ["B", "kB", "MB", "GB", "TB"];
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", day: "2-digit" });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

const unknown = (value) => value === null || value === undefined || Number.isNaN(value) || value < 0;

export function count(value) {
  return unknown(value) ? NONE : whole.format(value);
}

/** Four characters or so, for where there is little room. */
export function short(value) {
  if (unknown(value)) return NONE;
  if (value < 10_000) return whole.format(value);
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${(value / size).toFixed(value >= size * 100 ? 0 : 1)}${unit}`;
  }
  return NONE;
}

export function bytes(value) {
  if (unknown(value)) return NONE;
  let [left, unit] = [value, 0];
  while (left >= 1000 && unit < UNITS.length - 1) {
    left /= 1000;
    unit += 1;
  }
  return `${left.toFixed(unit === 0 || left >= 100 ? 0 : 1)} ${UNITS[unit]}`;
}

export function age(ms) {
  if (unknown(ms)) return NONE;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** How long ago an ISO time was. */
export function ago(iso, now = Date.now()) {
  return iso ? age(Math.max(0, now - Date.parse(iso))) : NONE;
}

export function time(ms) {
  return clock.format(ms);
}

/** The time, and the day unless it is today. */
export function moment(value) {
  if (value === null || value === undefined) return NONE;
  const at = new Date(value);
  if (Number.isNaN(at.getTime())) return String(value);
  return at.toDateString() === new Date().toDateString() ? clock.format(at) : `${day.format(at)} ${clock.format(at)}`;
}

export function many(number, one, more = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : more}`;
}
