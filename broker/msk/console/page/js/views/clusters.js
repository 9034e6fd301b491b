// All clusters of the region.

import { moment } from "../../shared/js/format.js";
import { to } from "../../shared/js/router.js";
import { follow, h, list, name, notice, state } from "../parts.js";
import { all, region } from "../service.js";

export function clustersView(signal) {
  const body = h("div", {});
  const problem = h("div", {});
  const element = h("section", { class: "view" },
    h("div", { class: "heading" }, h("h1", { tabindex: -1 }, "Clusters"),
      h("a", { class: "button", href: to("clusters", "new") }, "Create cluster")),
    h("p", { class: "soft" }, `In ${region()}. Each is a process with bundled brokers, one for each node.`), problem, body);
  let before = "";
  follow(() => all("/api/v2/clusters", "clusterInfoList", { signal }), signal, (clusters) => {
    problem.replaceChildren();
    const stamp = JSON.stringify(clusters);
    if (stamp === before) return;
    before = stamp;
    body.replaceChildren(list("Clusters", [
      ["Name", (one) => h("a", { href: to("clusters", one.clusterArn) }, name(one.clusterName))],
      ["State", (one) => state(one.state)],
      ["Type", (one) => one.clusterType?.toLowerCase()],
      ["Kafka", (one) => one.provisioned?.currentBrokerSoftwareInfo?.kafkaVersion],
      ["Brokers", (one) => one.provisioned?.numberOfBrokerNodes],
      ["Created", (one) => moment(one.creationTime)],
    ], clusters, "There is no cluster in this region. Create one, or choose another region."));
  }, (error) => problem.replaceChildren(notice("bad", error.message)));
  return { element, title: "Clusters" };
}

