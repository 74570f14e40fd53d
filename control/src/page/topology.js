// The topology: each tier with its totals and its nodes, and what flows between them.

import { byId, el, keep, say, shown } from "./dom.js";
import { areMany } from "./nodes.js";
import { bytes, count, figure, millis, NONE, percent, seconds, some } from "./words.js";

/** The totals of the last ten minutes: of all edges, and of each node. */
let minutes = { all: null, nodes: new Map() };

/** Takes what /v1/traffic says of the last ten minutes, by node. */
export function lately({ totals, groups }) {
  minutes = { all: totals, nodes: new Map(groups.map((group) => [group.node, group])) };
}

/** A figure of the last seconds; without one, of the last minutes; without requests there either, that. */
const either = (now, before, words) =>
  now !== null && now !== undefined
    ? words(now)
    : before !== null && before !== undefined
    ? words(before)
    : "none";

const NAMES = { edge: "Edges", parent: "Parents" };

/** Shows what /v1/stats says. */
export function show(stats) {
  figures(stats);
  const program = `weir ${stats.version}, up ${seconds(stats.uptime_seconds)}`;
  const behind = (stats.by_node ?? []).some((node) => node.lag > 0);
  say(byId("log"), behind ? `log at seq ${count(stats.log.head)} · ${program}` : program);
  const tiers = (stats.tiers ?? []).filter((tier) =>
    tier.nodes > 0 || nodesOf(stats, tier).length > 0
  );
  const many = areMany(stats.by_node ?? []);
  const lanes = tiers.map((tier, at) => ({
    tier,
    nodes: nodesOf(stats, tier),
    many,
    next: tiers[at + 1],
  }));
  byId("topology").dataset.tiers = tiers.length;
  keep(
    byId("topology"),
    [...lanes.flatMap((lane) => [lane, { flow: lane }]), { origin: tiers.at(-1) }],
    keyOf,
    make,
    update,
  );
}

const nodesOf = (stats, tier) => (stats.by_node ?? []).filter((node) => node.tier === tier.tier);

function keyOf(part) {
  if (part.flow) return `flow-${part.flow.tier.tier}`;
  return part.tier ? `lane-${part.tier.tier}` : "origin";
}

function figures(stats) {
  const all = stats.traffic ?? {};
  const last = (stats.tiers ?? []).filter((tier) => tier.nodes > 0).at(-1);
  const offload = all.requests_per_second
    ? Math.max(0, 1 - (last?.upstream_per_second ?? 0) / all.requests_per_second)
    : null;
  const before = minutes.all;
  const spared = before?.requests > 0
    ? Math.max(0, 1 - before.origin_requests / before.requests)
    : null;
  const { expected, connected } = stats.nodes;
  const rows = [
    ["Requests", figure(all.requests_per_second), "/s"],
    ["Hit ratio", either(all.hit_ratio, before?.hit_ratio, percent), ""],
    ["p50", either(all.p50_ms, before?.p50_ms, millis), ""],
    ["p99", either(all.p99_ms, before?.p99_ms, millis), ""],
    ["Bandwidth", bytes(all.bytes_per_second), "/s"],
    ["Origin offload", either(offload, spared, percent), ""],
    ["Errors", figure(all.errors_per_second), "/s", all.errors_per_second > 0 ? "bad" : ""],
    ["Nodes", `${connected}\u00a0/\u00a0${expected}`, "", connected < expected ? "bad" : ""],
  ];
  keep(
    byId("figures"),
    rows,
    ([name]) => name,
    ([name]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, el("b"), el("span", { class: "unit" }))),
    (row, [, value, unit, tone]) => {
      const [number, ...words] = value.split(" ");
      const dd = row.lastElementChild;
      say(dd.firstElementChild, number);
      say(dd.lastElementChild, `${words.join(" ")}${unit}`);
      row.dataset.tone = tone ?? "";
    },
  );
}

function make(part) {
  if (part.flow) {
    return el(
      "div",
      { class: "flow" },
      el("span", { class: "flow-line", "aria-hidden": "true" }),
      el("span", { class: "flow-text" }),
    );
  }
  if (!part.tier) {
    return el(
      "section",
      { class: "lane origin", "aria-label": "Origin" },
      el("h3", {}, "Origin"),
      el("p", { class: "origin-rate" }),
      el("p", { class: "faint origin-errors" }),
    );
  }
  return el(
    "section",
    { class: "lane", "aria-label": NAMES[part.tier.tier] ?? part.tier.tier },
    el(
      "h3",
      {},
      NAMES[part.tier.tier] ?? part.tier.tier,
      el("span", { class: "faint lane-total" }),
    ),
    el("ul", { class: "nodes" }),
  );
}

function update(element, part) {
  if (part.flow) return flow(element, part.flow);
  if (!part.tier) return origin(element, part.origin);
  const { tier, nodes, many } = part;
  // A table has them where they are many.
  const cards = many ? [] : nodes;
  element.style.setProperty("--nodes", Math.max(1, cards.length));
  const number = many ? `${count(nodes.length)} · ` : "";
  const hits = tier.hit_ratio === null ? "no requests" : `${percent(tier.hit_ratio)} hits`;
  const p99 = tier.p99_ms === null ? "" : ` · p99 ${millis(tier.p99_ms)}`;
  say(
    element.querySelector(".lane-total"),
    `${number}${hits} · ${figure(tier.requests_per_second)} req/s${p99}`,
  );
  const disk = tier.disk ? `; on disk ${filled(tier.disk)}` : "";
  element.querySelector(".lane-total").title =
    `${some(tier.stored, "stored response")}, ${filled(tier)}${disk}`;
  keep(element.querySelector(".nodes"), cards, (node) => node.name, makeNode, updateNode);
}

function flow(element, { tier, next }) {
  const share = tier.requests_per_second
    ? Math.min(1, tier.upstream_per_second / tier.requests_per_second)
    : 0;
  element.style.setProperty("--share", share.toFixed(3));
  element.dataset.moving = tier.upstream_per_second > 0 ? "yes" : "no";
  say(element.lastElementChild, `${figure(tier.upstream_per_second)} /s`);
  element.title = `${figure(tier.upstream_per_second)} requests per second to the ${
    next ? "parents" : "origin"
  }`;
}

function origin(element, last) {
  say(element.querySelector(".origin-rate"), `${figure(last?.upstream_per_second)} req/s`);
  const errors = last?.upstream_errors_per_second;
  say(
    element.querySelector(".origin-errors"),
    errors > 0 ? `${figure(errors)} errors/s` : "no errors",
  );
  element.dataset.tone = errors > 0 ? "bad" : "";
}

function makeNode(node) {
  return el(
    "li",
    { class: "node" },
    el(
      "div",
      { class: "node-head" },
      el("i", { class: "dot", "aria-hidden": "true" }),
      el("b", { class: "node-name" }, node.name),
      el("span", { class: "faint node-region" }),
      el("span", { class: "node-hit" }),
    ),
    el("div", { class: "meter", "aria-hidden": "true" }, el("i")),
    el(
      "div",
      { class: "node-facts" },
      el("span", { class: "node-rate" }),
      el("span", { class: "node-p50" }),
      el("span", { class: "node-p99" }),
    ),
    el(
      "div",
      { class: "node-facts faint" },
      el("span", { class: "node-seq" }),
      el("span", { class: "node-memory" }),
    ),
    el(
      "div",
      { class: "node-facts faint node-below", hidden: "" },
      el("span", { class: "node-aside", "data-tone": "warn" }),
      el("span", { class: "node-reads" }),
      el("span", { class: "node-disk" }),
    ),
  );
}

function updateNode(element, node) {
  const part = (name) => element.querySelector(`.${name}`);
  const here = node.state === "connected";
  element.dataset.state = node.state;
  element.title = `${shown(node.listen)} · up ${seconds(node.uptime_seconds)} · ${
    some(node.connections, "connection")
  } · ${count(node.evictions)} evicted`;
  say(part("node-region"), node.region);
  const before = minutes.nodes.get(node.name);
  say(
    part("node-hit"),
    here ? either(node.hit_ratio, before?.hit_ratio, percent) : node.state,
  );
  part("meter").dataset.asked = node.requests_per_second > 0 ? "yes" : "no";
  part("meter").firstElementChild.style.setProperty("width", `${(node.hit_ratio ?? 0) * 100}%`);
  const rate = here ? `${figure(node.requests_per_second)} req/s` : "not reporting to control";
  say(part("node-rate"), rate);
  say(part("node-p50"), here ? `p50 ${either(node.p50_ms, before?.p50_ms, millis)}` : "");
  say(part("node-p99"), here ? `p99 ${either(node.p99_ms, before?.p99_ms, millis)}` : "");
  say(
    part("node-seq"),
    node.lag > 0 ? `seq ${count(node.applied_seq)}, ${count(node.lag)} behind` : "",
  );
  part("node-seq").dataset.tone = node.lag > 0 ? "warn" : "";
  // A control of an older version does not say.
  const disk = node.disk ?? null;
  const memory = node.stored_bytes === null ? NONE : filled(node);
  say(part("node-memory"), disk ? `memory ${memory}` : memory);
  part("node-below").hidden = disk === null;
  if (disk === null) return;
  say(part("node-disk"), `disk ${filled(disk)}`);
  part("node-disk").title = `${some(disk.stored, "response")} on disk, ${
    some(disk.hits, "hit")
  } from it`;
  // Nothing had to wait for a device lately, or the node is of an older version.
  const reads = disk.read_p99_micros ?? null;
  say(part("node-reads"), reads === null ? "" : `reads p99 ${millis(reads / 1000)}`);
  const aside = `${disk.set_aside} of ${some(disk.directories, "directory", "directories")}`;
  say(part("node-aside"), disk.set_aside > 0 ? `${aside} set aside` : "");
}

/** How much is stored, of how much may be. */
const filled = (store) => `${bytes(store.stored_bytes)} of ${bytes(store.capacity_bytes)}`;
