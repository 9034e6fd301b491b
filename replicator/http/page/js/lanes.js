// Which worker has a partition, as far as the status says it.

/** `{lane, worker, host}`; fields are missing where they aren't known. */
export function ownerOf(status, row) {
  if (row.lane === undefined || row.lane < 0) return {};
  const worker = status.workers.find((each) => each.lanes.includes(row.lane));
  return { lane: String(row.lane), worker: worker?.client_id ?? "none", host: worker?.host };
}

/** Numbers as ranges: `0–3, 7`. */
export function ranges(numbers) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const found = [];
  for (const number of sorted) {
    const last = found.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, until]) => (from === until ? `${from}` : `${from}–${until}`)).join(", ");
}
