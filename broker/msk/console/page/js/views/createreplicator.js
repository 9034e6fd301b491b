// The form that makes a replicator: source, target, topics, groups, compression, permissions, tags.

import { to } from "../../shared/js/router.js";
import { check, choice, field, h, notice, panel, submits, tagsOf } from "../parts.js";
import { REGIONS, all, call, region, regionOf, setRegion } from "../service.js";

const patterns = (text) => text.split(/[,\n]/).map((each) => each.trim()).filter(Boolean);

export function createReplicatorView(signal) {
  const called = h("input", { type: "text", required: true, maxlength: 128, pattern: "[0-9A-Za-z][0-9A-Za-z\\-]*", autocomplete: "off" });
  const about = h("input", { type: "text", maxlength: 1024 });
  const source = clusterChoice("Source cluster", signal);
  const target = clusterChoice("Target cluster", signal);
  const topics = h("textarea", { required: true }, ".*");
  const without = h("textarea", {});
  const naming = choice([["PREFIXED_WITH_SOURCE_CLUSTER_ALIAS", "The source's alias in front of it"], ["IDENTICAL", "The same name"]]);
  const start = choice([["EARLIEST", "The earliest record"], ["LATEST", "What comes from now on"]]);
  const configs = check("Copy topic configurations", true);
  const acls = check("Copy access control lists", true);
  const fresh = check("Detect and copy new topics", true);
  const groups = h("textarea", {}, ".*");
  const groupsWithout = h("textarea", {});
  const offsets = check("Synchronise consumer groups' offsets", true);
  const freshGroups = check("Detect and copy new groups", true);
  const compression = choice(["NONE", "GZIP", "SNAPPY", "LZ4", "ZSTD"]);
  const role = h("input", { type: "text", placeholder: "created for you when left empty" });
  const tags = h("textarea", { placeholder: "team=shop" });
  const problem = h("div", {});
  const create = h("button", { class: "primary" }, "Create replicator");
  const form = h("form", { class: "form" },
    panel("Replicator", field("Name", called, "1 to 128 letters, digits and hyphens."), field("Description", about)),
    panel("Source", ...source.fields), panel("Target", ...target.fields),
    panel("Topics", field("Topics to replicate", topics, "Regular expressions for whole names, with commas or line breaks between them."),
      field("Topics to exclude", without), field("Name of the copies", naming), field("Begin with", start),
      h("fieldset", {}, h("legend", {}, "Additional settings"), configs.element, acls.element, fresh.element)),
    panel("Consumer groups", field("Consumer groups to replicate", groups), field("Consumer groups to exclude", groupsWithout),
      h("fieldset", {}, h("legend", {}, "Additional settings of groups"), offsets.element, freshGroups.element)),
    panel("Compression", field("Compression of what is written", compression, "None: records stay as they are.")),
    panel("Permissions", field("Service execution role", role, "Its ARN. One that nobody has described is made with what a replicator needs.")),
    panel("Tags", field("Tags", tags, "One key=value on each line.")),
    problem, h("div", { class: "buttons" }, create, h("a", { class: "button", href: to("replicators") }, "Cancel")));
  submits(form, create, problem, async () => {
    const [from, into] = [source.chosen(), target.chosen()];
    if (!from || !into) throw new Error("Choose a source cluster and a target cluster.");
    const account = into.clusterArn.split(":")[4];
    const body = {
      replicatorName: called.value,
      description: about.value || undefined,
      serviceExecutionRoleArn: role.value.trim() || `arn:aws:iam::${account}:role/${called.value}-service-role`,
      tags: tagsOf(tags.value),
      kafkaClusters: [from, into].map((one) => ({
        amazonMskCluster: { mskClusterArn: one.clusterArn },
        vpcConfig: { subnetIds: subnets(one), securityGroupIds: one.provisioned?.brokerNodeGroupInfo?.securityGroups ?? ["sg-11111111"] },
      })),
      replicationInfoList: [{
        sourceKafkaClusterArn: from.clusterArn,
        targetKafkaClusterArn: into.clusterArn,
        targetCompressionType: compression.value,
        topicReplication: {
          topicsToReplicate: patterns(topics.value), topicsToExclude: patterns(without.value),
          copyTopicConfigurations: configs.box.checked, copyAccessControlListsForTopics: acls.box.checked,
          detectAndCopyNewTopics: fresh.box.checked, startingPosition: { type: start.value },
          topicNameConfiguration: { type: naming.value },
        },
        consumerGroupReplication: {
          consumerGroupsToReplicate: patterns(groups.value), consumerGroupsToExclude: patterns(groupsWithout.value),
          detectAndCopyNewConsumerGroups: freshGroups.box.checked, synchroniseConsumerGroupOffsets: offsets.box.checked,
        },
      }],
    };
    const where = regionOf(into.clusterArn);
    const made = await call("POST", "/replication/v1/replicators", { body, where });
    setRegion(where);
    location.hash = to("replicators", made.replicatorArn);
  });
  const element = h("section", { class: "view" }, h("p", { class: "crumbs" }, h("a", { href: to("replicators") }, "Replicators")),
    h("div", { class: "heading" }, h("h1", { tabindex: -1 }, "Create replicator")), form);
  return { element, title: "Create replicator" };
}

/** A region and a cluster of it. */
function clusterChoice(label, signal) {
  const where = choice(REGIONS, region());
  const which = h("select", { required: true });
  const said = h("p", { class: "soft small", role: "status" });
  let found = [];
  const load = async () => {
    which.replaceChildren();
    try {
      found = (await all("/api/v2/clusters", "clusterInfoList", { signal, where: where.value })).filter((one) => one.state === "ACTIVE");
      which.append(h("option", { value: "" }, found.length ? "Choose a cluster" : "No active cluster in this region"),
        ...found.map((one) => h("option", { value: one.clusterArn }, one.clusterName)));
    } catch (error) {
      if (!signal.aborted) said.replaceChildren(notice("bad", error.message));
    }
  };
  where.addEventListener("change", load);
  which.addEventListener("change", async () => {
    const chosen = found.find((one) => one.clusterArn === which.value);
    said.textContent = "";
    if (!chosen || chosen.clusterType !== "PROVISIONED") return;
    if (!chosen.provisioned?.clientAuthentication?.sasl?.iam?.enabled) said.textContent = "It needs IAM among its access control methods.";
  });
  load();
  const kind = label.split(" ")[0];
  return { fields: [field(`${kind} region`, where), field(label, which), said], chosen: () => found.find((one) => one.clusterArn === which.value) };
}

function subnets(cluster) {
  const own = cluster.provisioned?.brokerNodeGroupInfo?.clientSubnets ?? cluster.serverless?.vpcConfigs?.[0]?.subnetIds;
  return (own ?? ["subnet-aaaaaaaa", "subnet-bbbbbbbb"]).slice(0, 3);
}

