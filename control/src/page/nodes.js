// Nodes: a row for each, by region, where there are too many for cards.

import { byId, el, keep, say, shown } from "./dom.js";
import { bytes, count, figure, millis, percent, seconds, some } from "./words.js";

/** The most nodes that are shown as cards. */
const MOST_CARDS = 16;

/** The most rows that are shown; the filter finds the others. */
const MOST_ROWS = 500;

const COLUMNS = [
  ["tier", (node) => node.tier],
  ["state", (node) => node.state, (node) => node.state === "connected" ? "good" : "bad"],
  ["requests", (node) => `${figure(node.requests_per_second)} /s`],
  ["hit ratio", (node) => node.hit_ratio === null ? "none" : percent(node.hit_ratio)],
  ["p99", (node) => node.p99_ms === null ? "none" : millis(node.p99_ms)],
  ["stored", (node) => bytes(node.stored_bytes)],
  ["behind", (node) => count(node.lag), (node) => node.lag > 0 ? "warn" : ""],
];

/** Those that were told last. */
let nodes = [];

/** Whether these are too many for cards. */
export const areMany = (all) => all.length > MOST_CARDS;

/** Takes what /v1/stats says of nodes. */
export function show(all) {
  byId("nodes-panel").hidden = !areMany(all);
  nodes = areMany(all) ? [...all].sort(byRegion) : [];
  refresh();
}

const byRegion = (a, b) =>
  a.region.localeCompare(b.region) || a.tier.localeCompare(b.tier) || a.name.localeCompare(b.name);

/** Shows the nodes in which each word of the filter stands. */
export function refresh() {
  const words = byId("nodes-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const has = (node) => {
    const text = `${node.name} ${node.region} ${node.tier} ${node.state}`.toLowerCase();
    return words.every((word) => text.includes(word));
  };
  const found = nodes.filter(has);
  const rows = found.slice(0, MOST_ROWS);
  const cut = rows.length < found.length ? `, the first ${count(rows.length)} of them` : "";
  say(byId("nodes-note"), `${count(found.length)} of ${count(nodes.length)}${cut}`);
  const items = rows.flatMap((node, at) =>
    at > 0 && rows[at - 1].region === node.region ? [node] : [{ group: groupOf(node.region, found) }, node]
  );
  keep(byId("nodes"), items, keyOf, make, update);
}

function groupOf(region, found) {
  const own = found.filter((node) => node.region === region);
  const away = own.filter((node) => node.state !== "connected").length;
  return { region, words: `${some(own.length, "node")}${away > 0 ? `, ${count(away)} not connected` : ""}` };
}

const keyOf = (item) => item.group ? `region ${item.group.region}` : `node ${item.name}`;

function make(item) {
  if (item.group) {
    const head = el("th", { scope: "rowgroup", colspan: COLUMNS.length + 1 }, item.group.region, " ", el("small"));
    return el("tr", { class: "group" }, head);
  }
  const kind = (name) => ["tier", "state"].includes(name) ? null : "number";
  return el(
    "tr",
    {},
    el("td", { class: "name" }, item.name),
    ...COLUMNS.map(([name]) => el("td", { class: kind(name), "data-name": name })),
  );
}

function update(child, item) {
  if (item.group) return say(child.querySelector("small"), item.group.words);
  child.title = `${shown(item.listen)} · up ${seconds(item.uptime_seconds)}`;
  COLUMNS.forEach(([, words, tone], at) => {
    const cell = child.children[at + 1];
    say(cell, words(item));
    cell.dataset.tone = tone ? tone(item) : "";
  });
}
