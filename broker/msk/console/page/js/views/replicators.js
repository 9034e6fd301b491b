// All replicators that the region knows of: its own, and those that read from it.

import { moment } from "../../shared/js/format.js";
import { to } from "../../shared/js/router.js";
import { follow, h, list, name, notice, state } from "../parts.js";
import { all, region } from "../service.js";

export function replicatorsView(signal) {
  const body = h("div", {});
  const problem = h("div", {});
  const element = h("section", { class: "view" },
    h("div", { class: "heading" }, h("h1", { tabindex: -1 }, "Replicators"),
      h("a", { class: "button", href: to("replicators", "new") }, "Create replicator")),
    h("p", { class: "soft" }, `In ${region()}, the region of their targets.`), problem, body);
  let before = "";
  follow(() => all("/replication/v1/replicators", "replicators", { signal }), signal, (found) => {
    problem.replaceChildren();
    if (JSON.stringify(found) === before) return;
    before = JSON.stringify(found);
    const aliases = (one) => one.replicationInfoSummaryList?.[0] ?? {};
    body.replaceChildren(list("Replicators", [
      ["Name", (one) => h("a", { href: to("replicators", one.replicatorArn) }, name(one.replicatorName))],
      ["State", (one) => state(one.replicatorState)],
      ["From", (one) => name(aliases(one).sourceKafkaClusterAlias ?? "–")],
      ["To", (one) => name(aliases(one).targetKafkaClusterAlias ?? "–")],
      ["Created", (one) => moment(one.creationTime)],
    ], found, "There is no replicator in this region. Create one, or choose another region."));
  }, (error) => problem.replaceChildren(notice("bad", error.message)));
  return { element, title: "Replicators" };
}
