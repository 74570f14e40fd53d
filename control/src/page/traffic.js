// Traffic over time: of which range, nodes and site; the totals, and the figures at the selected moment.

import { byId, el, keep, options, say, svg, tell } from "./dom.js";
import { blob, call } from "./api.js";
import { draw, HEIGHT } from "./chart.js";
import { recent } from "./history.js";
import { show as showSites } from "./sites.js";
import { bytes, count, figure, list, millis, percent, targets, when } from "./words.js";

/** Seconds of each range, and its name. */
const RANGES = [
  [600, "10 minutes"],
  [3600, "1 hour"],
  [86_400, "24 hours"],
  [604_800, "7 days"],
  [2_592_000, "30 days"],
];

/** Longer ranges change slowly: they are fetched no more often than this, in milliseconds. */
const SLOWLY = 10_000;

const PARTS = [
  ["hits", "hits", (p) => `${figure(p.hits_per_second)} /s`],
  [
    "misses",
    "misses",
    (p) => `${figure(Math.max(0, p.requests_per_second - p.hits_per_second))} /s`,
  ],
  ["errors", "errors", (p) => `${figure(p.errors_per_second)} /s`],
  ["p50", "p50", (p) => p.p50_ms === null ? "none" : millis(p.p50_ms)],
  ["p99", "p99", (p) => p.p99_ms === null ? "none" : millis(p.p99_ms)],
  ["", "bandwidth", (p) => `${bytes(p.bytes_per_second)}/s`],
  ["", "upstream requests", (p) => `${figure(p.upstream_per_second)} /s`],
];

const asked = (totals, words) => totals.requests > 0 ? words : "no requests";

const TOTALS = [
  ["Requests", (t) => count(t.requests)],
  ["Hit ratio", (t) => asked(t, percent(t.hit_ratio))],
  ["Sent", (t) => bytes(t.bytes)],
  ["Saved", (t) => bytes(t.bytes_saved)],
  ["Origin requests", (t) => count(t.origin_requests)],
  ["2xx", (t) => count(t.status["2xx"])],
  ["3xx", (t) => count(t.status["3xx"])],
  ["4xx", (t) => count(t.status["4xx"])],
  ["5xx", (t) => count(t.status["5xx"]), (t) => t.status["5xx"] > 0 ? "bad" : ""],
  ["p50", (t) => asked(t, millis(t.p50_ms))],
  ["p99", (t) => asked(t, millis(t.p99_ms))],
];

const picture = svg("svg", { class: "chart", height: HEIGHT, "aria-hidden": "true" });
const time = el("output", { class: "chart-time" });
const values = PARTS.map(() => el("b"));
const read = el(
  "div",
  { class: "readout" },
  time,
  ...PARTS.map(([tone, name], at) =>
    el("span", { class: "part" }, el("i", { class: `swatch ${tone}` }), `${name} `, values[at])
  ),
);
const purged = el("span", { class: "chart-purges" });
read.append(purged);
const frame = el("div", { class: "chart-frame", tabindex: "0", role: "slider" }, picture);
const empty = el("p", { class: "faint empty" }, "No data yet.");

let points = [];
let step = 2;
let place = null;
/** The selected time; null for the latest. */
let pointed = null;
/** What was fetched last, and when. */
let fetched = { of: null, at: 0 };
/** The sites that control knows. */
let known = [];

/** Wires the chart. */
export function wire() {
  options(byId("traffic-range"), RANGES.map(([seconds, name]) => [String(seconds), name]));
  byId("traffic").append(read, frame, empty);
  for (const id of ["traffic-of", "traffic-site", "traffic-range"]) {
    byId(id).addEventListener("change", () => {
      points = [];
      refresh().catch(() => redraw());
    });
  }
  for (const format of ["json", "csv"]) {
    byId(`export-${format}`).addEventListener("click", () => save(format));
  }
  new ResizeObserver(redraw).observe(frame);
  frame.addEventListener(
    "pointermove",
    (event) => point(place?.at(event.clientX - frame.getBoundingClientRect().left)),
  );
  frame.addEventListener("pointerleave", () => point(null));
  frame.addEventListener("blur", () => point(null));
  frame.addEventListener("keydown", move);
}

/** The tiers, nodes and sites to choose from. */
export function choices(stats) {
  const tiers = (stats.tiers ?? []).filter((tier) => tier.tier === "parent" && tier.nodes > 0);
  const nodes = (stats.by_node ?? []).map((
    node,
  ) => [`node=${node.name}`, `${node.name} (${node.tier})`]);
  options(byId("traffic-of"), [
    ["", "all edges"],
    ...tiers.map(() => ["tier=parent", "all parents"]),
    ...nodes,
  ]);
  known = stats.site_ids ?? [];
}

/** What is asked for by the choices of now. */
function chosen() {
  const [name, ...value] = byId("traffic-of").value.split("=");
  const of = name === "" ? {} : { [name]: value.join("=") };
  return { from: `-${range()[0]}`, site: byId("traffic-site").value, ...of };
}

const range = () => RANGES.find(([seconds]) => String(seconds) === byId("traffic-range").value);

/** Fetches it again, unless it changes too slowly for that. */
export async function refresh() {
  const query = chosen();
  const of = JSON.stringify(query);
  if (fetched.of === of && range()[0] > 600 && Date.now() - fetched.at < SLOWLY) return;
  const told = await call("v1/traffic", { query: { ...query, by: "site" } });
  // The choice has changed meanwhile.
  if (of !== JSON.stringify(chosen())) return;
  fetched = { of, at: Date.now() };
  step = told.step_seconds;
  // At the end of each step.
  points = told.points.map((each) => ({ ...each, time: Date.parse(each.at) + step * 1000 }));
  totals(told.totals);
  sites(told.groups);
  redraw();
}

function totals(told) {
  keep(
    byId("totals"),
    TOTALS,
    ([name]) => name,
    ([name]) => el("div", {}, el("dt", {}, name), el("dd")),
    (row, [, words, tone]) => {
      say(row.lastElementChild, words(told));
      row.dataset.tone = tone ? tone(told) : "";
    },
  );
}

function sites(groups) {
  const one = byId("traffic-site").value;
  if (one === "") {
    const ids = [...new Set([...known, ...groups.map((group) => group.site)])].filter(Boolean);
    options(byId("traffic-site"), [["", "all sites"], ...ids.sort().map((id) => [id, id])]);
  }
  showSites(groups, one === "" ? known : [one], range()[1]);
}

/** Has the browser save what is shown. */
async function save(format) {
  try {
    const file = await blob("v1/traffic", { query: { ...chosen(), format } });
    const address = URL.createObjectURL(file);
    el("a", { href: address, download: `traffic.${format}` }).click();
    // The browser has read it by then.
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    tell(byId("traffic-wrong"), null);
  } catch (error) {
    if (error.status === undefined) throw error;
    tell(byId("traffic-wrong"), `Not exported: ${error.message}.`);
  }
}

/** Draws what is known. */
export function redraw() {
  const width = Math.floor(frame.clientWidth);
  if (width < 100) return;
  empty.hidden = points.length > 0;
  const purges = recent().map((purge) => Date.parse(purge.created_at));
  const [seconds, name] = range();
  frame.setAttribute("aria-label", `Traffic over the last ${name}; arrow keys move through time`);
  place = draw(picture, width, { points, step, purges, longest: seconds * 1000 });
  show();
}

function point(at) {
  pointed = at ?? null;
  show();
}

function move(event) {
  const by = {
    ArrowLeft: -1,
    ArrowRight: 1,
    PageUp: -15,
    PageDown: 15,
    Home: -points.length,
    End: points.length,
  }[event.key];
  if (by === undefined || points.length === 0) return;
  event.preventDefault();
  const now = pointed === null ? points.length - 1 : points.indexOf(nearest(pointed));
  point(points[Math.min(points.length - 1, Math.max(0, now + by))].time);
}

function nearest(at) {
  return points.reduce(
    (best, each) => (Math.abs(each.time - at) < Math.abs(best.time - at) ? each : best),
    points[0],
  );
}

/** The figures of the selected moment, or of the latest. */
function show() {
  const shown = pointed === null ? points.at(-1) : nearest(pointed);
  const line = picture.querySelector(".pointer");
  if (!shown || !line) return;
  const x = place.x(shown.time);
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  line.setAttribute("visibility", pointed === null ? "hidden" : "visible");
  const at = when(shown.time, range()[0]);
  say(time, pointed === null ? "now" : at);
  PARTS.forEach(([, , words], at) => say(values[at], words(shown)));
  const near = pointed === null
    ? []
    : recent().filter((purge) => Math.abs(Date.parse(purge.created_at) - shown.time) < step * 1500);
  say(
    purged,
    near.length > 0
      ? `▲ purged ${list(near.flatMap((purge) => targets(purge).map(([, text]) => text)), 2)}`
      : "",
  );
  frame.setAttribute("aria-valuemin", 0);
  frame.setAttribute("aria-valuemax", points.length - 1);
  frame.setAttribute("aria-valuenow", points.indexOf(shown));
  frame.setAttribute(
    "aria-valuetext",
    `${at}: ${PARTS.map(([, name, words]) => `${name} ${words(shown)}`).join(", ")}`,
  );
}
