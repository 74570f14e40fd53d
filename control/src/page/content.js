// Stored responses, searched, sorted and by path; and recent responses that were not stored, by reason.

import { byId, el, keep, options, say, shown } from "./dom.js";
import { call } from "./api.js";
import { explainLink, tag } from "./explain.js";
import { grouped, parts } from "./groups.js";
import { stateOf } from "./history.js";
import * as reasons from "./reasons.js";
import { bytes, count, list, seconds, some } from "./words.js";

const POPULAR = ["URL", "Hits", "Size", "Status", "TTL", "Tags", "Nodes", ""];

/** As control takes it, and in words. */
const ORDERS = [
  ["hits", "most hits"],
  ["size", "largest"],
  ["expiry", "TTL, shortest first"],
  ["newest", "age, newest first"],
  ["url", "URL"],
];

/** URLs that were not stored: as many as control tells of. */
const MOST_UNCACHED = 100;

/** A word is searched for when nothing was typed for so long, in milliseconds. */
const TYPED = 300;

const popular = table(POPULAR, "popular-table");
let asked = 0;
let typing = null;
/** What is listed. */
let objects = [];

/** Wires the view; `look` handles a failed refresh. */
export function wire(look) {
  byId("popular").append(popular.table);
  options(byId("content-sort"), ORDERS);
  const again = () => {
    refresh().catch(look);
  };
  for (const id of ["content-node", "content-limit", "content-sort"]) {
    byId(id).addEventListener("change", again);
  }
  byId("content-group").addEventListener("change", listObjects);
  byId("content-search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(again, TYPED);
  });
}

function table(names, kind) {
  const body = el("tbody");
  const head = names.map((name) =>
    el("th", { scope: "col" }, name || el("span", { class: "unseen" }, "Actions"))
  );
  return { body, table: el("table", { class: kind }, el("thead", {}, el("tr", {}, head)), body) };
}

/** Fetches both again. */
export async function refresh() {
  const mine = ++asked;
  const chosen = (name) => byId(`content-${name}`).value.trim();
  const [node, search, sort] = ["node", "search", "sort"].map(chosen);
  const limit = byId("content-limit").value;
  const [stored, missed] = await Promise.all([
    call("v1/popular", { query: { node, search, limit, sort } }),
    call("v1/uncached", { query: { node, search, limit: MOST_UNCACHED } }),
  ]);
  if (mine !== asked) return;
  objects = stored.objects;
  const most = objects.length === Number(limit) && `the first ${limit}`;
  say(byId("popular-note"), [most, note(stored.nodes)].filter(Boolean).join("; "));
  say(byId("uncached-note"), note(missed.nodes));
  listObjects();
  reasons.show(missed, search !== "");
}

/** Lists what is stored, in groups if so chosen. */
function listObjects() {
  const groups = byId("content-group").value === "path"
    ? grouped(objects, byId("content-sort").value)
    : [{ objects }];
  const items = groups.flatMap((group) => group.key ? [{ group }, ...group.objects] : group.objects);
  const key = (item) => item.group ? `group ${item.group.key}` : item.url;
  keep(popular.body, items, key, make, update);
  const isSearched = byId("content-search").value.trim() !== "";
  const none = isSearched ? "Nothing that is stored matches." : "Nothing is stored.";
  placeholder(popular, none, POPULAR.length);
}

const make = (item) => item.group ? groupRow(item.group) : objectRow(item);

const update = (row, item) => item.group ? updateGroup(row, item.group) : updateObject(row, item);

function groupRow(group) {
  return el(
    "tr",
    { class: "group" },
    el(
      "th",
      { scope: "rowgroup", colspan: POPULAR.length },
      el("span", { class: "address" }, group.path),
      el("small"),
    ),
  );
}

function updateGroup(row, group) {
  const { origin, objects: urls, hits } = group;
  const figures = [origin, some(urls.length, "URL"), some(hits, "hit"), bytes(group.bytes)];
  say(row.querySelector("small"), figures.filter(Boolean).join(" · "));
}

function note(nodes) {
  const silent = nodes.filter((node) => node.error).map((node) => node.name);
  return silent.length > 0 ? `${list(silent)} did not answer` : "";
}

function placeholder({ body, table: whole }, text, columns) {
  const foot = whole.querySelector("tfoot") ??
    whole.appendChild(
      el("tfoot", {}, el("tr", {}, el("td", { colspan: columns, class: "faint" }))),
    );
  say(foot.querySelector("td"), text);
  foot.hidden = body.children.length > 0;
}

/** Cells by name: on narrow screens each shows its name instead of a column head. */
function cells(names, kinds, first, last) {
  return el(
    "tr",
    {},
    el("td", { class: "url" }, first),
    ...names.slice(1, -1).map((name, at) => el("td", { class: kinds[at], "data-name": name })),
    el("td", { class: "do" }, last),
  );
}

function objectRow(object) {
  const purge = el("button", {
    type: "button",
    class: "quiet small",
    "aria-label": `Purge ${object.url}`,
    on: { click: () => purgeUrl(object.url, purge) },
  }, "Purge");
  return cells(POPULAR, ["number", "number", "number", "number", "tags", "on"], [
    el("span", { class: "address" }),
    el("small", { class: "faint" }),
  ], [explainLink(object.url), purge]);
}

function updateObject(row, object) {
  const [url, served, size, status, left, tags, on] = row.children;
  address(url, object);
  if (object.variants > 1) {
    say(
      url.lastElementChild,
      `${url.lastElementChild.textContent} · ${count(object.variants)} variants`,
    );
  }
  say(served, count(object.hits));
  say(size, bytes(object.bytes));
  say(status, String(object.status));
  say(
    left,
    object.ttl_seconds > 0 ? seconds(object.ttl_seconds) : `stale ${seconds(-object.ttl_seconds)}`,
  );
  left.dataset.tone = object.ttl_seconds > 0 ? "" : "warn";
  left.title = `age ${seconds(object.age_seconds)}`;
  if (tags.written !== object.tags.join("\n")) {
    tags.written = object.tags.join("\n");
    const more = object.tags.length - 3;
    tags.replaceChildren(
      ...object.tags.slice(0, 3).map(tag),
      ...(more > 0
        ? [
          el(
            "small",
            { class: "faint", title: object.tags.slice(3).join(" ") },
            `and ${more} more`,
          ),
        ]
        : []),
    );
  }
  nodes(on, object.nodes);
}

/** The path is prominent; scheme and host are small below it. */
function address(cell, { url, site }) {
  const { origin, path } = parts(url);
  say(cell.firstElementChild, path);
  say(cell.lastElementChild, [origin, site].filter(Boolean).join(" · "));
  cell.title = shown(url);
}

function nodes(cell, names) {
  say(cell, names.length < 2 ? names.join("") : some(names.length, "node"));
  cell.title = shown(names.join(", "));
}

async function purgeUrl(url, button) {
  button.disabled = true;
  say(byId("content-said"), `purging ${url} …`);
  try {
    const told = await call("v1/purges", { body: { urls: [url] } });
    const done = told.status === "completed" ? "Purged" : "Accepted, in progress";
    say(byId("content-said"), `${done}: ${url}, ${stateOf(told)}.`);
    await refresh();
  } catch (refused) {
    say(byId("content-said"), `Not purged: ${refused.message}.`);
  } finally {
    button.disabled = false;
  }
}
