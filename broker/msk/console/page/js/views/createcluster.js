// The form that makes a cluster: the choices in the order in which the service asks for them.

import { to } from "../../shared/js/router.js";
import { check, choice, field, h, notice, panel, submits, tagsOf } from "../parts.js";
import { call, get, region } from "../service.js";

const TYPES = ["kafka.m5.large", "kafka.m7g.large", "kafka.m7g.xlarge", "express.m7g.large"];
const LEVELS = ["DEFAULT", "PER_BROKER", "PER_TOPIC_PER_BROKER", "PER_TOPIC_PER_PARTITION"];

export function createClusterView(signal) {
  const called = h("input", { type: "text", required: true, maxlength: 64, pattern: "[A-Za-z0-9][A-Za-z0-9\\-]*", autocomplete: "off" });
  const version = choice([["", "…"]]);
  const zones = choice([["3", "3 zones"], ["2", "2 zones"]], "3");
  const perZone = h("input", { type: "number", min: 1, max: 5, value: 1, required: true });
  const type = choice(TYPES, TYPES[0]);
  const storage = h("input", { type: "number", min: 1, max: 16384, value: 100, required: true });
  const iam = check("IAM", true);
  const scram = check("SASL/SCRAM", false);
  const open = check("Unauthenticated", false);
  const encryption = choice([["TLS", "TLS"], ["TLS_PLAINTEXT", "TLS and plaintext"], ["PLAINTEXT", "Plaintext"]], "TLS");
  const level = choice(LEVELS, "DEFAULT");
  const tags = h("textarea", { placeholder: "team=shop" });
  const problem = h("div", {});
  const create = h("button", { class: "primary" }, "Create cluster");
  const form = h("form", { class: "form" },
    panel("Cluster", field("Name", called, "1 to 64 letters, digits and hyphens."), field("Apache Kafka version", version)),
    panel("Brokers", field("Availability zones", zones), field("Brokers per zone", perZone), field("Broker type", type),
      field("Storage per broker, in GiB", storage, "Kept as a setting; nothing is set aside for it here.")),
    panel("Access", h("fieldset", {}, h("legend", {}, "Access control methods"), iam.element, scram.element, open.element),
      field("Encryption between clients and brokers", encryption, "IAM and SASL/SCRAM take TLS.")),
    panel("Monitoring and tags", field("Metrics", level), field("Tags", tags, "One key=value on each line.")),
    problem, h("div", { class: "buttons" }, create, h("a", { class: "button", href: to("clusters") }, "Cancel")));
  get("/v1/kafka-versions", { signal }).then(({ kafkaVersions }) => {
    const active = kafkaVersions.filter((one) => one.status === "ACTIVE").map((one) => one.version);
    const wanted = active.includes("3.6.0") ? "3.6.0" : active[0];
    version.replaceChildren(...active.map((one) => h("option", { value: one, selected: one === wanted }, one)));
  }).catch((error) => signal.aborted || problem.replaceChildren(notice("bad", error.message)));
  submits(form, create, problem, async () => {
    const count = Number(zones.value);
    const body = {
      clusterName: called.value,
      tags: tagsOf(tags.value),
      provisioned: {
        kafkaVersion: version.value,
        numberOfBrokerNodes: count * Number(perZone.value),
        enhancedMonitoring: level.value,
        brokerNodeGroupInfo: {
          clientSubnets: Array.from({ length: count }, (_, index) => `subnet-${"abc"[index].repeat(8)}`),
          securityGroups: ["sg-11111111"],
          instanceType: type.value,
          storageInfo: type.value.startsWith("express") ? undefined : { ebsStorageInfo: { volumeSize: Number(storage.value) } },
        },
        clientAuthentication: {
          sasl: { iam: { enabled: iam.box.checked }, scram: { enabled: scram.box.checked } },
          unauthenticated: { enabled: open.box.checked },
        },
        encryptionInfo: { encryptionInTransit: { clientBroker: encryption.value, inCluster: true } },
      },
    };
    const made = await call("POST", "/api/v2/clusters", { body });
    location.hash = to("clusters", made.clusterArn);
  });
  const element = h("section", { class: "view" }, h("p", { class: "crumbs" }, h("a", { href: to("clusters") }, "Clusters")),
    h("div", { class: "heading" }, h("h1", { tabindex: -1 }, "Create cluster")),
    h("p", { class: "soft" }, `In ${region()}.`), form);
  return { element, title: "Create cluster" };
}
