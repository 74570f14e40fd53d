// Explain: what every node knows about a URL, side by side.

import { byId, el, say, tell } from "./dom.js";
import { call } from "./api.js";
import { bytes, count, list, seconds, some } from "./words.js";

/** The tone of each state: good is a hit, off is an ordinary miss; any other is bad. */
const TONES = {
  fresh: "good",
  stale: "warn",
  partial: "warn",
  filling: "warn",
  "not-stored": "off",
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
}

/** Explains the URL of an address such as `#explain?url=/a`. */
export function open(asked) {
  if (!asked.has("url") || asked.get("url") === form.elements.url.value) return;
  form.elements.url.value = asked.get("url");
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
    // The address can be shared: it opens the same explanation.
    window.history.replaceState(null, "", `#explain?${new URLSearchParams({ url })}`);
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
    : `${some(fresh.length, "node")} of ${nodes.length} would answer`;
  const rest = silent.length > 0 ? ` ${list(silent)} did not answer.` : "";
  return `${hits} it from the store.${rest}`;
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

const row = (name, ...value) => [el("dt", {}, name), el("dd", {}, ...value)];

function rows(told) {
  const [key, ...more] = told.key.split("\n");
  const found = [
    row("key", el("code", {}, key), ...more.map((line) => el("code", { class: "more" }, line))),
  ];
  if (told.site) found.push(row("site", told.site));
  // A node of an older version does not say.
  for (const origin of told.origins ?? []) {
    found.push(row("origin", `${origin.url}, Host: ${origin.host}`));
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
  }
  const purge = told.last_purge;
  found.push(
    row(
      "last purge",
      purge ? `seq ${count(purge.seq)}, ${purge.soft ? "soft" : "hard"}` : "none that matches",
    ),
  );
  return found.flat();
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

/** A tag; it leads to the form that purges it. */
export function tag(name) {
  return el("a", {
    class: "label tag",
    href: `#purges?${new URLSearchParams({ tags: name })}`,
    title: `Purge the tag ${name} …`,
  }, name);
}
