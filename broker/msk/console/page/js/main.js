// The console of the local MSK: a bar on top, one view below, chosen by the address behind the `#`.

import { h, mark } from "../shared/js/dom.js";
import { parse, to } from "../shared/js/router.js";
import { applyTheme, themeSwitch } from "../shared/js/theme.js";
import { REGIONS, region, setRegion, takeToken } from "./service.js";
import { clusterPage } from "./views/cluster.js";
import { clustersView } from "./views/clusters.js";
import { createClusterView } from "./views/createcluster.js";
import { createReplicatorView } from "./views/createreplicator.js";
import { replicatorPage } from "./views/replicator.js";
import { replicatorsView } from "./views/replicators.js";

const main = document.getElementById("main");
const links = [h("a", { href: to("clusters") }, "Clusters"), h("a", { href: to("replicators") }, "Replicators")];
let shown = new AbortController();
let first = true;

const VIEWS = {
  clusters: ([arn, tab], signal) => (arn === "new" ? createClusterView(signal) : arn ? clusterPage(arn, tab, signal) : clustersView(signal)),
  replicators: ([arn, tab], signal) =>
    arn === "new" ? createReplicatorView(signal) : arn ? replicatorPage(arn, tab, signal) : replicatorsView(signal),
};

function top() {
  const choice = h("select", { "aria-label": "Region" }, REGIONS.map((each) => h("option", { value: each, selected: each === region() }, each)));
  choice.addEventListener("change", () => {
    setRegion(choice.value);
    route();
  });
  document.getElementById("top").append(
    h("a", { class: "brand", href: to("clusters") }, h("img", { src: "shared/icon.svg", alt: "", width: 24, height: 24 }), h("span", {}, "Local MSK")),
    h("nav", { "aria-label": "Main" }, links),
    h("span", { class: "stretch" }),
    choice,
    themeSwitch(),
  );
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
}

function route() {
  takeToken();
  const { parts } = parse(location.hash);
  shown.abort();
  shown = new AbortController();
  const place = VIEWS[parts[0] ?? "clusters"] ? parts[0] ?? "clusters" : "clusters";
  links.forEach((link) => mark(link, "aria-current", link.hash === to(place) && "page"));
  const view = VIEWS[place](parts.slice(1), shown.signal);
  main.replaceChildren(view.element);
  document.title = `${view.title} – Local MSK`;
  document.getElementById("said").textContent = view.title;
  if (!first) {
    window.scrollTo(0, 0);
    (main.querySelector("h1") ?? main).focus({ preventScroll: true });
  }
  first = false;
}

applyTheme();
takeToken();
top();
route();
window.addEventListener("hashchange", route);
