// Stored responses, most requested first; and recent responses that were not stored, and why.

import { byId, el, keep, say, shown } from "./dom.js";
import { call } from "./api.js";
import { tag } from "./explain.js";
import { stateOf } from "./history.js";
import { bytes, count, list, seconds, some } from "./words.js";

const POPULAR = ["URL", "Hits", "Size", "Status", "TTL", "Tags", "Nodes", ""];
const UNCACHED = ["URL", "Reason", "Status", "Ago", "Nodes", ""];

const popular = table(POPULAR, "popular-table");
const uncached = table(UNCACHED, "uncached-table");
let asked = 0;

/** Wires the view; `look` handles a failed refresh. */
export function wire(look) {
  byId("popular").append(popular.table);
  byId("uncached").append(uncached.table);
  for (const id of ["content-node", "content-limit"]) {
    byId(id).addEventListener("change", () => {
      refresh().catch(look);
    });
  }
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
  const query = { node: byId("content-node").value, limit: byId("content-limit").value };
  const [stored, missed] = await Promise.all([
    call("v1/popular", { query }),
    call("v1/uncached", { query }),
  ]);
  if (mine !== asked) return;
  say(byId("popular-note"), note(stored.nodes));
  say(byId("uncached-note"), note(missed.nodes));
  keep(popular.body, stored.objects, (object) => object.url, objectRow, updateObject);
  placeholder(popular, "Nothing is stored.", POPULAR.length);
  keep(uncached.body, missed.urls, (url) => `${url.url} ${url.reason}`, missRow, updateMiss);
  placeholder(uncached, "Nothing recent.", UNCACHED.length);
  reasons(missed.reasons);
}

function note(nodes) {
  const silent = nodes.filter((node) => node.error).map((node) => node.name);
  return silent.length > 0 ? `${list(silent)} did not answer` : "";
}

function placeholder({ body, table: whole }, text, columns) {
  const foot = whole.querySelector("tfoot") ??
    whole.appendChild(
      el("tfoot", {}, el("tr", {}, el("td", { colspan: columns, class: "faint" }, text))),
    );
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

const explainLink = (url) =>
  el("a", {
    class: "button quiet small",
    href: `#explain?${new URLSearchParams({ url })}`,
    "aria-label": `Explain ${url}`,
  }, "Explain");

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

function missRow(miss) {
  return cells(UNCACHED, ["why", "number", "number", "on"], [
    el("span", { class: "address" }),
    el("small", { class: "faint" }),
  ], [explainLink(miss.url)]);
}

function updateMiss(row, miss) {
  const [url, why, status, past, on] = row.children;
  address(url, miss);
  if (why.written !== miss.reason + miss.sentence) {
    why.written = miss.reason + miss.sentence;
    why.replaceChildren(el("b", {}, miss.reason), ` ${shown(miss.sentence)}`);
  }
  say(status, miss.status === null || miss.status === undefined ? "" : String(miss.status));
  say(past, seconds(miss.seconds_ago));
  nodes(on, miss.nodes);
}

/** The path is prominent; scheme and host are small below it. */
function address(cell, { url, site }) {
  const [, origin, path] = /^(\w+:\/\/[^/?]*)(.*)$/s.exec(url) ?? [null, "", url];
  say(cell.firstElementChild, path || "/");
  say(cell.lastElementChild, [origin, site].filter(Boolean).join(" · "));
  cell.title = shown(url);
}

function nodes(cell, names) {
  say(cell, names.length < 2 ? names.join("") : some(names.length, "node"));
  cell.title = shown(names.join(", "));
}

function reasons(found) {
  const most = Math.max(1, ...found.map((each) => each.count));
  keep(
    byId("reasons"),
    found,
    (each) => each.reason,
    () =>
      el(
        "li",
        {},
        el("b"),
        el("span", { class: "reason-count" }),
        el("div", { class: "meter", "aria-hidden": "true" }, el("i")),
        el("p", { class: "faint" }),
      ),
    (item, each) => {
      const [word, number, meter, sentence] = item.children;
      say(word, each.reason);
      say(number, count(each.count));
      meter.firstElementChild.style.setProperty("width", `${(100 * each.count) / most}%`);
      say(sentence, each.sentence);
    },
  );
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
