// Explain: what every node knows about a URL, side by side.

import { byId, el, say, tell } from "./dom.js";
import { call } from "./api.js";
import { misses } from "./reasons.js";
import { bytes, clock, count, list, seconds, some } from "./words.js";

/** Recent misses that are offered. */
const OFFERED = 10;

/** The tone of each state: good is a hit, off is an ordinary miss; any other is bad. */
const TONES = {
  fresh: "good",
  stale: "warn",
  partial: "warn",
  filling: "warn",
  "not-stored": "off",
  bypass: "off",
  redirected: "off",
};

/** Where a response is stored. */
const PLACES = { memory: " in memory", disk: " on disk" };

const form = byId("explain");
let asking = 0;

/** Wires the form. */
export function wire() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  form.elements.url.addEventListener("input", () => {
    offer();
    // A failure shows at the next regular look.
    refresh().catch(() => {});
  });
}

/** Fetches recent misses, where no URL is asked for. */
export async function refresh() {
  offer();
  if (form.elements.url.value.trim() !== "") return;
  const told = await call("v1/uncached", { query: { limit: OFFERED } });
  byId("explain-misses").dataset.empty = "None yet.";
  misses(byId("explain-misses"), told.urls, null);
}

/** Recent misses are offered while no URL is asked for. */
function offer() {
  byId("explain-recent").hidden = form.elements.url.value.trim() !== "";
}

/** Explains the URL of an address such as `#explain?url=/a`. */
export function open(asked) {
  if (!asked.has("url")) return;
  form.elements.url.value = asked.get("url");
  offer();
  ask();
}

async function ask() {
  const mine = ++asking;
  for (const name of ["url", "header"]) {
    tell(byId(`wrong-${name}`), null);
    form.elements[name].removeAttribute("aria-invalid");
  }
  const url = form.elements.url.value.trim();
  const header = form.elements.header.value.split("\n").map((line) => line.trim()).filter(Boolean);
  say(byId("explain-said"), "asking …");
  try {
    const told = await call("v1/explain", {
      query: { url, header, node: form.elements.node.value },
    });
    if (mine !== asking) return;
    // The address can be shared: it opens the same explanation. Who went on to another view stays there.
    if (/^#explain\b/.test(location.hash)) {
      window.history.replaceState(null, "", `#explain?${new URLSearchParams({ url })}`);
    }
    say(byId("explain-said"), summary(told.nodes));
    byId("explanations").replaceChildren(...told.nodes.map(card));
    const target = new URLSearchParams({ [url.startsWith("/") ? "paths" : "urls"]: url });
    byId("explain-purge").href = `#purges?${target}`;
    byId("explain-purge").hidden = told.nodes.every((node) => !node.explanation?.site);
  } catch (refused) {
    if (mine === asking) wrong(refused);
  }
}

function wrong(refused) {
  say(byId("explain-said"), "");
  byId("explain-purge").hidden = true;
  byId("explanations").replaceChildren();
  const place = refused.field && byId(`wrong-${refused.field}`);
  if (!place || !form.contains(place)) return say(byId("explain-said"), `${refused.message}.`);
  tell(place, refused.message);
  const input = form.elements[refused.field];
  if (refused.field === "header") byId("explain-more").open = true;
  input.setAttribute("aria-invalid", "true");
  input.focus();
}

/** All answers in a sentence. */
function summary(nodes) {
  if (nodes.length === 0) return "Control expects no node.";
  const of = (keep) => nodes.filter(keep).map((node) => node.name);
  const fresh = of((node) => node.explanation?.state === "fresh");
  const silent = of((node) => node.error);
  const hits = fresh.length === nodes.length
    ? "Every node would answer"
    : fresh.length === 0
    ? "No node would answer"
    : `${some(fresh.length, "node")} of ${nodes.length} would answer`;
  const rest = silent.length > 0 ? ` ${list(silent)} did not answer.` : "";
  const last = nodes.map((node) => node.explanation?.last_purge);
  const ago = age(last.find((purge) => purge?.removed && !purge.soft));
  const purged = fresh.length === 0 && ago !== null ? ` It was purged ${seconds(ago)} ago.` : "";
  return `${hits} it from the store.${purged}${rest}`;
}

function card(node) {
  const told = node.explanation;
  const head = el(
    "header",
    {},
    el("b", {}, node.name),
    el("span", { class: "faint" }, `${node.tier}, ${node.region}`),
    el(
      "span",
      { class: "state", "data-tone": told ? TONES[told.state] ?? "bad" : "off" },
      told?.state ?? "unknown",
    ),
  );
  if (!told) {
    return el(
      "article",
      { class: "panel explanation" },
      head,
      el("p", { class: "sentence" }, `${node.error}.`),
    );
  }
  return el(
    "article",
    { class: "panel explanation" },
    head,
    el("p", { class: "sentence" }, told.sentence),
    told.selected ? lifetime(told.selected) : null,
    el("dl", { class: "facts" }, ...rows(told)),
  );
}

/** The elapsed part of its freshness lifetime. */
function lifetime(stored) {
  const over = el("i");
  over.style.setProperty(
    "width",
    `${Math.min(100, (100 * stored.age) / Math.max(1, stored.lifetime))}%`,
  );
  const left = stored.ttl > 0 ? `TTL ${seconds(stored.ttl)}` : `stale for ${seconds(-stored.ttl)}`;
  return el(
    "div",
    { class: "lifetime", "data-stale": stored.ttl > 0 ? "no" : "yes" },
    el("div", { class: "meter", "aria-hidden": "true" }, over),
    el(
      "p",
      {},
      el("b", {}, left),
      ` · age ${seconds(stored.age)} of ${seconds(stored.lifetime)} `,
      el("span", { class: "faint" }, `by ${stored.lifetime_source}`),
    ),
  );
}

/** What the cookies of the request are for. */
function usesOf(cookies) {
  if (!cookies) return "";
  const uses = [
    [cookies.for_everyone ? "no bypass for static files" : "bypass", cookies.bypass],
    ["in the key", cookies.key],
    ["ignored", cookies.ignored],
    ["passed to the origin", cookies.other],
  ];
  const told = uses.filter(([, names]) => names.length > 0);
  return told.map(([words, names]) => `${words}: ${names.join(" ")}`).join("; ");
}

const row = (name, ...value) => [el("dt", {}, name), el("dd", {}, ...value)];

function rows(told) {
  const [key, ...more] = told.key.split("\n");
  const found = [
    row("key", el("code", {}, key), ...more.map((line) => el("code", { class: "more" }, line))),
  ];
  const cookies = usesOf(told.cookies);
  if (cookies) found.push(row("cookies", cookies));
  if (told.site) found.push(row("site", told.site));
  // A node of an older version does not say.
  for (const origin of told.origins ?? []) {
    const pool = (origin.pool ?? "default") === "default" ? "" : ` (${origin.pool})`;
    found.push(row("origin", `${origin.url}${pool}, Host: ${origin.host}`));
  }
  if (told.selected) found.push(...variant("stored", told.selected));
  // A copy on disk of what memory has is no other variant.
  const same = JSON.stringify(told.selected?.selecting);
  for (const other of told.variants) {
    found.push(...variant(JSON.stringify(other.selecting) === same ? "copy" : "variant", other));
  }
  if (told.not_stored) {
    const { word, sentence, status, seconds_ago: past } = told.not_stored;
    found.push(
      row(
        told.selected ? "last fetch" : "not stored",
        el("b", {}, word),
        ` ${sentence}`,
        el("span", { class: "faint" }, ` ${status ? `${status}, ` : ""}${seconds(past)} ago`),
      ),
    );
    // A node of an older version does not say.
    if (told.not_stored.remedy) found.push(row("what to do", told.not_stored.remedy));
  }
  found.push(row("last purge", ...lastPurge(told.last_purge)));
  return found.flat();
}

/** Seconds since a purge was accepted; null where control does not know it any more, or is of an older version. */
const age = (purge) => purge?.seconds_ago ?? null;

/** The last purge by its name, which leads to its history; and when it was. */
function lastPurge(purge) {
  if (!purge) return ["none known"];
  const kind = purge.soft ? "soft" : "hard";
  if (age(purge) === null) return [`seq ${count(purge.seq)}, ${kind}`];
  const name = purge.reference ?? `seq ${count(purge.seq)}`;
  return [
    el("a", { href: `#purges?${new URLSearchParams({ id: purge.id })}` }, name),
    ` ${kind}, ${seconds(age(purge))} ago`,
    el("span", { class: "faint", title: purge.created_at }, ` at ${clock(purge.created_at)}`),
  ];
}

function variant(name, stored) {
  const size = stored.complete_length === null
    ? bytes(stored.bytes)
    : `${bytes(stored.bytes)} of ${bytes(stored.complete_length)}`;
  const served = stored.hits === 1 ? ", served once" : `, served ${count(stored.hits)} times`;
  // A node of an older version does not say where; hits from disk are not counted by response.
  const place = PLACES[stored.stored_in] ?? "";
  const found = [
    row(name, `${stored.status}, ${size}${place}${stored.hits === null ? "" : served}`),
  ];
  if (name !== "stored") {
    found.push(
      row("", stored.ttl > 0 ? `TTL ${seconds(stored.ttl)}` : `stale for ${seconds(-stored.ttl)}`),
    );
  }
  if (stored.selecting.length > 0) {
    found.push(row(
      "selected by",
      ...stored.selecting.map(([field, value]) =>
        el("code", { class: "more" }, `${field}: ${value ?? "(absent)"}`)
      ),
    ));
  }
  if (stored.tags.length > 0) {
    found.push(row("tags", el("span", { class: "tags" }, ...stored.tags.map(tag))));
  }
  if (stored.etag) found.push(row("ETag", el("code", {}, stored.etag)));
  if (stored.last_modified) found.push(row("modified", stored.last_modified));
  found.push(
    row(
      "filled at",
      stored.filled_at_seq === null ? "under another log" : `seq ${count(stored.filled_at_seq)}`,
    ),
  );
  return found;
}

/** A link to the explanation of a URL. */
export const explainLink = (url) =>
  el("a", {
    class: "button quiet small",
    href: `#explain?${new URLSearchParams({ url })}`,
    "aria-label": `Explain ${url}`,
  }, "Explain");

/** A tag; it leads to the form that purges it. */
export function tag(name) {
  return el("a", {
    class: "label tag",
    href: `#purges?${new URLSearchParams({ tags: name })}`,
    title: `Purge the tag ${name} …`,
  }, name);
}
