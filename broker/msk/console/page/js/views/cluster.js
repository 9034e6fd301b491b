// One cluster: summary, client information, its policy, its topics.

import { moment } from "../../shared/js/format.js";
import { to } from "../../shared/js/router.js";
import { command, facts, field, follow, h, list, name, notice, panel, state, submits } from "../parts.js";
import { all, arnPath, call, get, regionOf } from "../service.js";

const TABS = { summary: "Summary", client: "Client information", policy: "Cluster policy", topics: "Topics" };
const WAYS = {
  bootstrapBrokerString: "Plaintext, without authentication",
  bootstrapBrokerStringTls: "TLS",
  bootstrapBrokerStringSaslScram: "SASL/SCRAM",
  bootstrapBrokerStringSaslIam: "IAM",
  bootstrapBrokerStringVpcConnectivityTls: "TLS, from other VPCs",
  bootstrapBrokerStringVpcConnectivitySaslScram: "SASL/SCRAM, from other VPCs",
  bootstrapBrokerStringVpcConnectivitySaslIam: "IAM, from other VPCs",
};

export function clusterPage(arn, tab = "summary", signal = undefined) {
  const where = { signal, where: regionOf(arn) };
  const title = arn.split("/")[1] ?? arn;
  const badge = h("span", {});
  const problem = h("div", {});
  const shown = h("div", { class: "tab-panel spaced" });
  const element = h("section", { class: "view" },
    h("p", { class: "crumbs" }, h("a", { href: to("clusters") }, "Clusters")),
    h("div", { class: "link-head" }, h("h1", { tabindex: -1 }, name(title)), badge),
    h("nav", { class: "tabs", "aria-label": "Parts" }, Object.entries(TABS).map(([key, text]) =>
      h("a", { href: to("clusters", arn, key), "aria-current": key === tab && "page" }, text))),
    problem, shown);
  const failed = (error) => problem.replaceChildren(notice("bad", error.message));
  const describe = async () => (await get(`/api/v2/clusters/${arnPath(arn)}`, where)).clusterInfo;
  const parts = { summary: () => summary(arn, shown, where), client: () => client(arn, shown, where, failed),
    policy: () => policy(arn, shown, where, failed), topics: () => topics(arn, shown, where, failed) };
  const show = (parts[tab] ?? parts.summary)();
  follow(describe, signal, (info) => {
    problem.replaceChildren();
    badge.replaceChildren(state(info.state));
    show?.(info);
  }, failed);
  return { element, title };
}

function summary(arn, shown, where) {
  const problem = h("div", {});
  const remove = h("button", { type: "button", class: "danger" }, "Delete cluster");
  const sure = h("input", { type: "text", "aria-label": "The cluster's name, to delete it", placeholder: "type the cluster's name" });
  const form = h("form", { class: "row" }, sure, remove);
  remove.type = "submit";
  submits(form, remove, problem, async () => {
    if (sure.value !== arn.split("/")[1]) throw new Error("That isn't the cluster's name, so nothing was deleted.");
    await call("DELETE", `/v1/clusters/${arnPath(arn)}`, where);
    location.hash = to("clusters");
  });
  const rest = h("div", {});
  const multi = h("button", { type: "button" }, "Turn on IAM from other VPCs");
  const said = h("div", {});
  let version;
  multi.addEventListener("click", async () => {
    const connectivityInfo = { vpcConnectivity: { clientAuthentication: { sasl: { iam: { enabled: true } } } } };
    try {
      await call("PUT", `/v1/clusters/${arnPath(arn)}/connectivity`, { ...where, body: { currentVersion: version, connectivityInfo } });
      said.replaceChildren(notice("good", "The cluster is being updated."));
    } catch (error) {
      said.replaceChildren(notice("bad", error.message));
    }
  });
  const connectivity = h("p", { class: "soft" });
  shown.append(rest, panel("Multi-VPC connectivity", connectivity, h("div", { class: "row" }, multi), said), panel("Delete", h("p", { class: "soft" }, "Its brokers end, and their data goes."), form, problem));
  let before = "";
  return (info) => {
    if (JSON.stringify(info) === before) return;
    before = JSON.stringify(info);
    version = info.currentVersion;
    const vpc = info.provisioned?.brokerNodeGroupInfo?.connectivityInfo?.vpcConnectivity?.clientAuthentication;
    const on = Boolean(vpc?.sasl?.iam?.enabled);
    multi.hidden = on || info.clusterType !== "PROVISIONED";
    multi.disabled = info.state !== "ACTIVE";
    connectivity.textContent = on ? "IAM is on for clients in other VPCs." : "Off. The source of a replicator to another region needs it.";
    const made = info.provisioned ?? {};
    rest.replaceChildren(panel("Summary", facts([
      ["ARN", command(arn, "the ARN")],
      ["State", state(info.state)],
      info.stateInfo?.message && ["Why", info.stateInfo.message],
      ["Type", info.clusterType?.toLowerCase()],
      ["Apache Kafka", made.currentBrokerSoftwareInfo?.kafkaVersion],
      ["Brokers", made.numberOfBrokerNodes],
      ["Broker type", made.brokerNodeGroupInfo?.instanceType],
      ["Subnets", made.brokerNodeGroupInfo?.clientSubnets?.join(", ")],
      ["Encryption", made.encryptionInfo?.encryptionInTransit?.clientBroker],
      ["Monitoring", made.enhancedMonitoring],
      ["Created", moment(info.creationTime)],
      ["Tags", Object.entries(info.tags ?? {}).map(([key, value]) => `${key}=${value}`).join(", ") || "none"],
    ])));
  };
}

function client(arn, shown, where, failed) {
  let last = "";
  return async () => {
    try {
      const found = await get(`/v1/clusters/${arnPath(arn)}/bootstrap-brokers`, where);
      const stamp = JSON.stringify(found);
      if (stamp === last) return;
      last = stamp;
      shown.replaceChildren(...Object.entries(WAYS).filter(([key]) => found[key]).map(([key, text]) =>
        panel(text, command(found[key], `the bootstrap string for ${text}`))));
      if (!shown.children.length) shown.replaceChildren(h("p", { class: "empty" }, "No addresses yet."));
    } catch (error) {
      if (error.name !== "AbortError") failed(error);
    }
  };
}

function policy(arn, shown, where, failed) {
  const text = h("textarea", { class: "policy", id: "policy", spellcheck: "false" });
  const problem = h("div", {});
  const save = h("button", { class: "primary" }, "Save policy");
  const template = h("button", { type: "button" }, "Fill in what a replicator needs");
  const remove = h("button", { type: "button", class: "danger" }, "Delete policy");
  const form = h("form", { class: "form" },
    field("Cluster policy (JSON)", text, "Who else may use this cluster. A replicator to another region needs one on its source."),
    h("div", { class: "buttons" }, save, template, remove), problem);
  shown.replaceChildren(form);
  let version;
  template.addEventListener("click", () => {
    text.value = JSON.stringify({ Version: "2012-10-17", Statement: [{
      Effect: "Allow", Principal: { Service: ["kafka.amazonaws.com"] },
      Action: ["kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers", "kafka:DescribeClusterV2"], Resource: arn,
    }] }, null, 2);
    text.focus();
  });
  const load = async () => {
    try {
      const found = await get(`/v1/clusters/${arnPath(arn)}/policy`, where);
      version = found.currentVersion;
      text.value = JSON.stringify(JSON.parse(found.policy), null, 2);
    } catch (error) {
      if (error.kind !== "NotFoundException") failed(error);
    }
  };
  submits(form, save, problem, async () => {
    const body = { policy: text.value, ...(version ? { currentVersion: version } : {}) };
    version = (await call("PUT", `/v1/clusters/${arnPath(arn)}/policy`, { ...where, body })).currentVersion;
    problem.replaceChildren(notice("good", "Saved."));
  });
  remove.addEventListener("click", async () => {
    try {
      await call("DELETE", `/v1/clusters/${arnPath(arn)}/policy`, where);
      [version, text.value] = [undefined, ""];
      problem.replaceChildren(notice("good", "Deleted."));
    } catch (error) {
      problem.replaceChildren(notice("bad", error.message));
    }
  });
  load();
  return null;
}

function topics(arn, shown, where, failed) {
  let last = "";
  return async () => {
    try {
      const found = await all(`/v1/clusters/${arnPath(arn)}/topics`, "topics", where);
      if (JSON.stringify(found) === last) return;
      last = JSON.stringify(found);
      shown.replaceChildren(list("Topics", [
        ["Topic", (one) => name(one.topicName)],
        ["Partitions", (one) => one.partitionCount],
        ["Replicas", (one) => one.replicationFactor],
        ["Out of sync", (one) => one.outOfSyncReplicaCount],
      ], found, "No topics. Make one with kafka-topics.sh, or let a replicator bring some."));
    } catch (error) {
      if (error.name !== "AbortError") failed(error);
    }
  };
}
