// Why responses were not stored: each reason once, with what to do about it, and the URLs that it concerns.

import { byId, el, keep, say, shown } from "./dom.js";
import { parts } from "./groups.js";
import { count, seconds, some } from "./words.js";

/** URLs shown of a reason, until all are asked for. */
const FEW = 5;

/** Reasons whose URLs are all shown. */
const opened = new Set();

/** What is shown, to be shown again. */
let last = null;

/** Shows what /v1/uncached says; where only some URLs are searched for, the reasons that they have. */
export function show(told, isSearched) {
  last = [told, isSearched];
  const of = (reason) => told.urls.filter((url) => url.reason === reason);
  const groups = told.reasons.map((each) => ({ ...each, urls: of(each.reason) }));
  // Requests that clients broke off share one count, under the word of the last one.
  for (const url of told.urls) {
    if (groups.some((group) => group.reason === url.reason)) continue;
    groups.push({ reason: url.reason, sentence: url.sentence, count: null, urls: of(url.reason) });
  }
  const found = isSearched ? groups.filter((group) => group.urls.length > 0) : groups;
  byId("reasons").dataset.empty = isSearched ? "None of these URLs matches." : "None yet.";
  const most = Math.max(1, ...found.map((each) => each.count ?? 0));
  keep(byId("reasons"), found, (each) => each.reason, make, (item, each) => update(item, each, most));
}

function make(each) {
  const click = () => toggle(each.reason);
  const more = el("button", { type: "button", class: "quiet small", on: { click } });
  return el(
    "li",
    {},
    el("h3", {}, el("code", {}, each.reason)),
    el("span", { class: "reason-count faint" }),
    el("div", { class: "meter", "aria-hidden": "true" }, el("i")),
    el("p", { class: "reason-why" }),
    el("p", { class: "reason-remedy" }, el("b", {}, "What to do: "), el("span")),
    el("ul", { class: "misses" }),
    more,
  );
}

function toggle(reason) {
  if (!opened.delete(reason)) opened.add(reason);
  show(...last);
}

function update(item, each, most) {
  const [, number, meter, why, remedy, urls, more] = item.children;
  say(number, each.count === null ? "" : `${some(each.count, "time")} since the nodes started`);
  meter.firstElementChild.style.setProperty("width", `${(100 * (each.count ?? 0)) / most}%`);
  say(why, each.sentence);
  // A control of an older version does not say.
  say(remedy.lastElementChild, each.remedy ?? "");
  remedy.hidden = !each.remedy;
  const all = opened.has(each.reason);
  misses(urls, all ? each.urls : each.urls.slice(0, FEW), each.sentence);
  more.hidden = each.urls.length <= FEW;
  say(more, all ? "Show fewer" : `Show all ${count(each.urls.length)}`);
  more.setAttribute("aria-label", `${more.textContent} of ${each.reason}`);
}

/** Lists URLs; of each what differs from the sentence of all. */
export function misses(list, urls, sentence) {
  keep(list, urls, (miss) => miss.url, makeMiss, (item, miss) => updateMiss(item, miss, sentence));
}

function makeMiss(miss) {
  return el(
    "li",
    {},
    el("a", { class: "address", href: `#explain?${new URLSearchParams({ url: miss.url })}` }),
    el("small", {}),
  );
}

function updateMiss(item, miss, sentence) {
  const [link, small] = item.children;
  const { origin, path } = parts(miss.url);
  say(link, path);
  link.title = `Explain ${shown(miss.url)}`;
  const told = [
    origin,
    miss.site,
    miss.status && String(miss.status),
    `${seconds(miss.seconds_ago)} ago`,
    miss.nodes.length < 2 ? miss.nodes.join("") : some(miss.nodes.length, "node"),
    miss.sentence !== sentence && `${sentence === null ? `${miss.reason}: ` : ""}${miss.sentence}`,
  ];
  say(small, told.filter(Boolean).join(" · "));
}
