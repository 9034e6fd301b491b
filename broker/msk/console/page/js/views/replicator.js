// One replicator: its properties with the alias, and what it does.

import { chart } from "../../shared/js/chart.js";
import { age, bytes, count, moment, short } from "../../shared/js/format.js";
import { to } from "../../shared/js/router.js";
import { command, facts, follow, h, name, notice, panel, state, submits } from "../parts.js";
import { arnPath, call, get, monitoring, regionOf } from "../service.js";

const TABS = { properties: "Properties", monitoring: "Monitoring" };

export function replicatorPage(arn, tab = "properties", signal = undefined) {
  const where = { signal, where: regionOf(arn) };
  const title = arn.split("/")[1] ?? arn;
  const badge = h("span", {});
  const problem = h("div", {});
  const shown = h("div", { class: "tab-panel spaced" });
  const element = h("section", { class: "view" },
    h("p", { class: "crumbs" }, h("a", { href: to("replicators") }, "Replicators")),
    h("div", { class: "link-head" }, h("h1", { tabindex: -1 }, name(title)), badge),
    h("nav", { class: "tabs", "aria-label": "Parts" }, Object.entries(TABS).map(([key, text]) =>
      h("a", { href: to("replicators", arn, key), "aria-current": key === tab && "page" }, text))),
    problem, shown);
  const failed = (error) => problem.replaceChildren(notice("bad", error.message));
  const show = tab === "monitoring" ? watch(arn, shown, where, signal) : properties(arn, shown, where);
  follow(() => get(`/replication/v1/replicators/${arnPath(arn)}`, where), signal, (found) => {
    problem.replaceChildren();
    badge.replaceChildren(state(found.replicatorState));
    show?.(found);
  }, failed);
  return { element, title };
}

function properties(arn, shown, where) {
  const rest = h("div", {});
  const problem = h("div", {});
  const sure = h("input", { type: "text", "aria-label": "The replicator's name, to delete it", placeholder: "type the replicator's name" });
  const remove = h("button", { type: "submit", class: "danger" }, "Delete replicator");
  const form = h("form", { class: "row" }, sure, remove);
  submits(form, remove, problem, async () => {
    if (sure.value !== arn.split("/")[1]) throw new Error("That isn't the replicator's name, so nothing was deleted.");
    await call("DELETE", `/replication/v1/replicators/${arnPath(arn)}`, where);
    location.hash = to("replicators");
  });
  shown.append(rest, panel("Delete", h("p", { class: "soft" }, "Copying ends. The copies stay."), form, problem));
  let before = "";
  return (found) => {
    if (JSON.stringify(found) === before) return;
    before = JSON.stringify(found);
    const info = found.replicationInfoList?.[0] ?? {};
    const topics = info.topicReplication ?? {};
    const groups = info.consumerGroupReplication ?? {};
    const prefixed = topics.topicNameConfiguration?.type !== "IDENTICAL";
    rest.replaceChildren(
      panel("Properties", facts([
        ["ARN", command(arn, "the ARN")],
        ["State", state(found.replicatorState)],
        found.stateInfo?.message && ["Why", found.stateInfo.message],
        ["Source alias", command(info.sourceKafkaClusterAlias ?? "–", "the source's alias")],
        ["Target alias", name(info.targetKafkaClusterAlias ?? "–")],
        ["A copy is called", prefixed ? name(`${info.sourceKafkaClusterAlias}.my-topic`) : "as its original"],
        ["Service execution role", name(found.serviceExecutionRoleArn ?? "–")],
        ["Compression", info.targetCompressionType],
        ["Created", moment(found.creationTime)],
        ["Tags", Object.entries(found.tags ?? {}).map(([key, value]) => `${key}=${value}`).join(", ") || "none"],
      ])),
      panel("Topics", facts([
        ["Replicated", topics.topicsToReplicate?.join(", ")],
        ["Excluded", topics.topicsToExclude?.join(", ") || "none"],
        ["Configurations", yes(topics.copyTopicConfigurations)],
        ["Access control lists", yes(topics.copyAccessControlListsForTopics)],
        ["New topics", yes(topics.detectAndCopyNewTopics)],
        ["Begins with", topics.startingPosition?.type?.toLowerCase()],
      ])),
      panel("Consumer groups", facts([
        ["Replicated", groups.consumerGroupsToReplicate?.join(", ") || "none"],
        ["Excluded", groups.consumerGroupsToExclude?.join(", ") || "none"],
        ["Offsets", yes(groups.synchroniseConsumerGroupOffsets)],
      ])));
  };
}

const yes = (value) => (value ? "copied" : "not copied");

/** Latency, throughput, errors and lag, by the metrics that MSK Replicator has. */
function watch(arn, shown, where, signal) {
  const charts = {
    ReplicationLatency: chart({ title: "ReplicationLatency", show: age }, signal),
    ReplicatorThroughput: chart({ title: "ReplicatorThroughput", show: (value) => `${bytes(value)}/s` }, signal),
    MessageLag: chart({ title: "MessageLag", show: short }, signal),
    ReplicationFailures: chart({ title: "ReplicationFailures", show: short }, signal),
  };
  const figures = h("dl", { class: "figures" });
  const said = h("div", {});
  shown.append(h("div", { class: "overview" }, said, figures, h("div", { class: "charts" }, Object.values(charts).map((one) => one.element))));
  const at = [];
  const kept = Object.fromEntries(Object.keys(charts).map((key) => [key, []]));
  follow(() => monitoring(arn, where), signal, (found) => {
    said.replaceChildren(...(found.problem ? [notice("warn", found.problem)] : []));
    at.push(Date.now() / 1000);
    if (at.length > 600) at.shift();
    for (const [key, values] of Object.entries(kept)) {
      values.push(found[key] ?? null);
      if (values.length > 600) values.shift();
      charts[key].draw(at, values);
    }
    figures.replaceChildren(...[
      ["ReplicationLatency", found.ReplicationLatency === null ? "unknown" : age(found.ReplicationLatency)],
      ["ReplicatorThroughput", `${bytes(found.ReplicatorThroughput ?? 0)}/s`],
      ["MessageLag", count(found.MessageLag)],
      ["ReplicationFailures", count(found.ReplicationFailures)],
      ["Topics", count(found.topics)],
    ].map(([term, value]) => h("div", { class: "figure" }, h("dt", {}, term), h("dd", {}, value))));
  }, (error) => said.replaceChildren(notice("bad", error.message)), 1000);
  return null;
}
