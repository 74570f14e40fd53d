// Origins: the members of each site's pools, as the nodes that ask them know them.

import { byId, el, keep, say } from "./dom.js";
import { call } from "./api.js";
import { count, list, millis, seconds, some } from "./words.js";

/** Fetches them again. The section is not shown where no node tells of any. */
export async function refresh() {
  const { nodes_total: all, nodes, origins } = await call("v1/origins");
  byId("origins-panel").hidden = origins.length === 0;
  const silent = nodes.filter((node) => node.error).map((node) => node.name);
  const of = nodes.length < all ? `as ${count(nodes.length)} of ${count(all)} nodes know them; ` : "";
  const rest = silent.length > 0 ? `no answer of ${list(silent, 3)}` : "counted since the nodes started";
  say(byId("origins-note"), `${of}${rest}`);
  keep(byId("origins"), origins, (one) => `${one.pool} ${one.url}`, make, update);
}

function make(one) {
  const named = (name, more) => el("td", { "data-name": name, ...more });
  return el(
    "tr",
    {},
    el("td", { class: "url" }, el("span", { class: "address" }, one.url), el("small", {}, one.pool)),
    named("state"),
    named("weight", { class: "number" }),
    named("requests", { class: "number" }),
    named("errors", { class: "number" }),
    named("probes"),
    named("first byte", { class: "number" }),
  );
}

function update(child, one) {
  const [, state, weight, requests, errors, probes, first] = child.children;
  say(state, stateOf(one));
  state.dataset.tone = { healthy: "good", mixed: "warn" }[one.state] ?? "bad";
  state.title = one.nodes.map((node) => `${node.name}: ${node.state}`).join(", ");
  say(weight, count(one.weight));
  say(requests, count(one.requests));
  say(errors, count(one.errors));
  errors.dataset.tone = one.errors > 0 ? "warn" : "";
  say(probes, probesOf(one));
  say(first, one.first_byte_ms === null ? "no requests" : millis(one.first_byte_ms));
}

/** Where nodes differ, which do not ask it. */
function stateOf(one) {
  const away = one.nodes.filter((node) => node.state !== "healthy");
  const ejections = one.ejections > 0 ? `, ejected ${some(one.ejections, "time")}` : "";
  if (one.state !== "mixed") return `${one.state}${ejections}`;
  return `${list(away.map((node) => `${node.state} at ${node.name}`), 2)}${ejections}`;
}

function probesOf(one) {
  if (one.probe === null) return "not probed";
  const { good, bad, error, seconds_ago } = one.probe;
  const sum = `${count(good)} good, ${count(bad)} failed`;
  const when = seconds_ago === null ? "" : `, ${seconds(seconds_ago)} ago`;
  return error === null ? `${sum}${when}` : `${sum}: ${error}${when}`;
}
