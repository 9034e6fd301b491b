// Who copies: the workers of a link, and the lanes of each.

import { ofLink } from "../api.js";
import { h, name, put, refill } from "../dom.js";
import { count, many, time } from "../format.js";
import { heading, trouble } from "../parts.js";
import { poll } from "../polling.js";
import { ranges } from "../lanes.js";
import { list } from "../table.js";

export function workersTab({ link, signal }) {
  const wrong = trouble();
  const body = h("div", {}, h("p", { class: "empty" }, "Asking…"));
  const as_of = h("span", { class: "soft small" });
  poll(ofLink(link, "workers"), { every: 2000, signal, failed: wrong.say }, ({ workers }, at) => {
    wrong.say(null);
    const lanes = workers.reduce((sum, worker) => sum + worker.lanes.length, 0);
    put(as_of, `${many(workers.length, "worker")}, ${many(lanes, "lane")}, as of ${time(at)}`);
    refill(body, JSON.stringify(workers), () => workers.length ? list({
      label: "Workers", rows: workers,
      columns: [
        { title: "Worker", show: (row) => name(row.client_id) },
        { title: "Host", show: (row) => name(row.host) },
        { title: "Lanes", number: true, show: (row) => count(row.lanes.length) },
        { title: "Which", show: (row) => (row.lanes.length ? share(row, lanes) : "none yet"), kind: "long" },
        { title: "Member", show: (row) => name(row.member_id), kind: "long soft" },
      ],
    }) : h("p", { class: "notice bad" }, "No worker runs: nothing is copied. Start one with ", h("code", {}, "replicator run"), "."));
  });
  return h("div", {}, heading("Workers", h("span", { class: "stretch" }), as_of), wrong.element, body);
}

function share(worker, all) {
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span"));
  bar.firstChild.style.width = `${(100 * worker.lanes.length) / Math.max(1, all)}%`;
  return h("span", { class: "share" }, bar, h("span", { class: "name" }, ranges(worker.lanes)));
}
