// The history of purges: each with a time line that shows when it reached each node.

import { byId, el, keep, say, tell } from "./dom.js";
import { call } from "./api.js";
import { ago, clock, count, list, millis, NONE, seconds, some, targets } from "./words.js";

/** Purges that are shown: the latest. */
const SHOWN = 50;

/** Least time between two looks that events cause, be it a thousand purges a second. */
const PAUSE = 250;

const CHANGES = [
  "purge",
  "release",
  "applied",
  "completed",
  "missed",
  "forgotten",
  "joined",
  "attached",
  "parted",
];

let purges = [];
let headSeq = 0;
let waiting = null;
let looking = false;
let again = false;

/** The id of the purge that is to be shown; and that purge, where it is not among the latest. */
let wanted = null;
let older = null;
/** Whether it is still to be brought into view. */
let revealing = false;

/** What is known of the latest purges, latest first. */
export const recent = () => purges;

/** The log's last seq, as the figures tell it. */
export function head(seq) {
  headSeq = Math.max(headSeq, seq);
  // A new log counts from the start.
  if (seq < headSeq - SHOWN) headSeq = seq;
}

/** An event: if it concerns purges, they are fetched again soon. */
export function heard(name, data) {
  if (!CHANGES.includes(name)) return;
  if (data.seq > headSeq) headSeq = data.seq;
  if (waiting !== null || document.hidden) return;
  waiting = setTimeout(() => {
    waiting = null;
    // A failure shows at the next regular look.
    refresh().catch(() => {});
  }, PAUSE);
}

/** Asks for the latest purges. */
export async function refresh() {
  if (looking) {
    again = true;
    return;
  }
  looking = true;
  try {
    do {
      again = false;
      let told = await latest();
      // The log was longer than was known.
      if (told.head > told.after + SHOWN) told = await latest();
      purges = told.purges.toReversed();
      older = await olderOne();
    } while (again);
  } finally {
    looking = false;
  }
  show();
}

/** Shows the purge of an address such as `#purges?id=…`, open and in view. */
export function open(asked) {
  if (!asked.has("id")) return;
  wanted = asked.get("id");
  revealing = true;
}

/** The purge that is wanted, where it is not among the latest. */
async function olderOne() {
  if (wanted === null || known(wanted)) return null;
  if (older?.id === wanted && older.status === "completed") return older;
  try {
    return await call(`v1/purges/${encodeURIComponent(wanted)}`);
  } catch (refused) {
    if (refused.status !== 404) throw refused;
    return { id: wanted, gone: true };
  }
}

async function latest() {
  const after = Math.max(0, headSeq - SHOWN);
  const told = await call("v1/purges", { query: { after, limit: SHOWN } });
  headSeq = told.head;
  return { ...told, after };
}

/** What is known of the purge with this id. */
export const known = (id) => purges.find((purge) => purge.id === id);

function show() {
  const open = purges.filter((purge) => purge.status !== "completed").length;
  const words = purges.length === 0 ? "no purges yet" : `latest ${purges.length}`;
  const gone = older?.gone ? "; the purge that you look for is no longer kept" : "";
  say(byId("history-note"), `${words}${open > 0 ? `, ${open} in progress` : ""}${gone}`);
  const listed = older && !older.gone ? [...purges, older] : purges;
  keep(byId("history"), listed, (purge) => purge.id, make, update);
  if (revealing) reveal();
}

/** Opens the purge that is wanted, and puts the focus there. */
function reveal() {
  revealing = false;
  const items = [...byId("history").children];
  const item = items.find((each) => each.dataset.id === wanted);
  if (!item) return;
  const [element] = item.children;
  element.open = true;
  element.firstElementChild.focus();
  item.scrollIntoView({ block: "center" });
}

/** The newest purge is opened, because it is usually the one of interest. */
let opened = null;

function make(purge) {
  const item = details();
  if (purge === purges[0]) {
    opened?.removeAttribute("open");
    opened = item.firstElementChild;
    opened.open = true;
    // Who opens or closes it has it stay so.
    opened.firstElementChild.addEventListener("click", () => {
      opened = null;
    }, { once: true });
  }
  return item;
}

function details() {
  return el(
    "li",
    {},
    el(
      "details",
      { class: "purge" },
      el(
        "summary",
        {},
        el("span", { class: "purge-what" }),
        el("span", { class: "purge-track", "aria-hidden": "true" }),
        el("span", { class: "purge-state" }),
        el("span", { class: "purge-at faint" }),
      ),
      el("div", { class: "purge-body" }),
    ),
  );
}

function update(item, purge) {
  const part = (name) => item.querySelector(`.${name}`);
  const far = scaleOf(purge);
  const written = JSON.stringify(purge);
  say(part("purge-at"), ago(purge.created_at));
  part("purge-at").title = `${clock(purge.created_at)} · ${purge.created_at}`;
  if (item.written === written) return;
  item.written = written;
  item.dataset.id = purge.id;
  item.firstElementChild.dataset.status = purge.status;
  part("purge-what").replaceChildren(...what(purge));
  say(part("purge-state"), stateOf(purge));
  part("purge-track").replaceChildren(...purge.nodes.map((node) => dot(node, far)));
  part("purge-body").replaceChildren(...body(purge, far));
}

/** What a purge names, as labels. */
export function what(purge, most = 3) {
  const named = targets(purge);
  if (named.length === 0) return [el("span", { class: "label" }, "a release was switched")];
  const labels = named.slice(0, most).map(([kind, text]) =>
    el(
      "span",
      { class: "label", "data-kind": kind },
      kind === "path" || kind === "url" || kind === "all" ? null : el("small", {}, `${kind} `),
      text,
    )
  );
  if (named.length > most) {
    labels.push(el("span", { class: "faint" }, `and ${named.length - most} more`));
  }
  const ways = [
    purge.soft && "soft",
    purge.versions && "all versions",
    purge.warm && "warm",
    purge.site && `of ${purge.site}`,
  ];
  return [...labels, ...ways.filter(Boolean).map((word) => el("span", { class: "way" }, word))];
}

const byState = (purge, state) =>
  purge.nodes.filter((node) => node.state === state).map((node) => node.name);

/** How far a purge has come, in words. */
export function stateOf(purge) {
  if (purge.status === "completed") {
    // Nobody waited for these: they validate what they have stored.
    const over = byState(purge, "lease_over");
    const arrived = purge.nodes_total - purge.nodes_lagging;
    const words = `${some(arrived, "node")} in ${millis(purge.elapsed_ms)}`;
    if (purge.nodes_total === 0) return "accepted, no node is expected";
    return over.length === 0 ? words : `${words} · lease over: ${list(over, 2)}`;
  }
  const applied = purge.nodes_total - purge.nodes_lagging;
  const missing = [["pending", byState(purge, "pending")], ["offline", byState(purge, "offline")]];
  const names = missing.filter(([, nodes]) => nodes.length > 0).map(([word, nodes]) =>
    `${word}: ${list(nodes, 2)}`
  );
  return `${applied} of ${purge.nodes_total} · ${names.join(" · ")}`;
}

/** How many stored responses it took; null while a node has not counted. */
export function matched(purge) {
  if (purge.matched !== null) return purge.matched;
  const awaited = purge.nodes.filter((node) => node.state !== "lease_over");
  const counts = awaited.map((node) => node.matched);
  return counts.length === 0 || counts.includes(null)
    ? null
    : counts.reduce((sum, n) => sum + n, 0);
}

const counted = (purge) => purge.nodes.reduce((sum, node) => sum + (node.matched ?? 0), 0);

/**
 * Milliseconds at the right end of its time line: where the last node that has it stands, or a
 * little more, for those who stand there because they have not.
 */
function scaleOf(purge) {
  const last = Math.max(0.01, ...purge.nodes.map((node) => node.applied_ms ?? 0));
  return purge.status === "completed" ? last : last * 1.15;
}

function dot(node, far) {
  const mark = el("i", { class: "arrival", "data-state": node.state });
  const at = node.applied_ms === null ? 1 : node.applied_ms / far;
  mark.style.setProperty("--at", at.toFixed(4));
  return mark;
}

/** The dot, and the way to it. */
function track(node, far) {
  const way = el("span", { class: "lane-track" }, dot(node, far));
  way.style.setProperty("--at", ((node.applied_ms ?? 0) / far).toFixed(4));
  return way;
}

function body(purge, far) {
  const rows = purge.nodes.map((node) =>
    el(
      "li",
      { "data-state": node.state },
      el("span", { class: "lane-name" }, node.name, el("small", {}, ` ${node.tier}`)),
      track(node, far),
      el("span", { class: "lane-time" }, arrival(node, purge)),
      el(
        "span",
        { class: "lane-matched faint" },
        node.matched === null ? "" : `${count(node.matched)} matched`,
      ),
    )
  );
  const note = el("p", { class: "purge-note" });
  tell(note, purge.note);
  const sum = matched(purge);
  const facts = [
    `seq ${count(purge.seq)}`,
    // Of many nodes, only those that lag are listed.
    rows.length < purge.nodes_total &&
    `${count(purge.nodes_total - purge.nodes_lagging)} of ${count(purge.nodes_total)} nodes`,
    purge.reference && `reference ${purge.reference}`,
    sum === null
      ? `${some(counted(purge), "stored response")} matched so far`
      : `${some(sum, "stored response")} matched`,
    purge.warmed &&
    `warmed ${count(purge.warmed.done)} of ${count(purge.warmed.asked)}${
      purge.warmed.failed ? `, ${count(purge.warmed.failed)} failed` : ""
    }`,
    `at ${clock(purge.created_at)}`,
    purge.id,
  ];
  return [
    el("ol", { class: "lanes" }, rows),
    note,
    el("p", { class: "faint purge-facts" }, facts.filter(Boolean).join(" · ")),
    ...(targets(purge).length > 3
      ? [
        el(
          "p",
          { class: "purge-all" },
          what({ ...purge, soft: false, versions: false, warm: false, site: null }, 100),
        ),
      ]
      : []),
  ];
}

function arrival(node, purge) {
  if (node.state === "applied") return node.applied_ms === null ? NONE : millis(node.applied_ms);
  if (node.state === "lease_over") return "lease over";
  return node.state === "offline"
    ? "offline"
    : `pending, ${seconds((Date.now() - Date.parse(purge.created_at)) / 1000)}`;
}
