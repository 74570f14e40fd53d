// Traffic over time: of which nodes, and the figures at the selected moment.

import { byId, el, options, say, svg } from "./dom.js";
import { call } from "./api.js";
import { draw, HEIGHT } from "./chart.js";
import { recent } from "./history.js";
import { bytes, clock, figure, list, millis, targets } from "./words.js";

const PARTS = [
  ["hits", "hits", (p) => `${figure(p.hits_per_second)} /s`],
  [
    "misses",
    "misses",
    (p) => `${figure(Math.max(0, p.requests_per_second - p.hits_per_second))} /s`,
  ],
  ["errors", "errors", (p) => `${figure(p.errors_per_second)} /s`],
  ["p50", "p50", (p) => millis(p.p50_ms)],
  ["p99", "p99", (p) => millis(p.p99_ms)],
  ["", "bandwidth", (p) => `${bytes(p.bytes_per_second)}/s`],
  ["", "upstream requests", (p) => `${figure(p.upstream_per_second)} /s`],
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
const frame = el("div", {
  class: "chart-frame",
  tabindex: "0",
  role: "slider",
  "aria-label": "Traffic over the last ten minutes; arrow keys move through time",
}, picture);
const empty = el("p", { class: "faint empty" }, "No data yet.");

let points = [];
let step = 2;
let place = null;
/** The selected time; null for the latest. */
let pointed = null;

/** Wires the chart. */
export function wire() {
  byId("traffic").append(read, frame, empty);
  byId("traffic-of").addEventListener("change", () => {
    points = [];
    refresh().catch(() => redraw());
  });
  new ResizeObserver(redraw).observe(frame);
  frame.addEventListener(
    "pointermove",
    (event) => point(place?.at(event.clientX - frame.getBoundingClientRect().left)),
  );
  frame.addEventListener("pointerleave", () => point(null));
  frame.addEventListener("blur", () => point(null));
  frame.addEventListener("keydown", move);
}

/** The tiers and nodes to choose from. */
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
}

/** Fetches it again. */
export async function refresh() {
  const [name, ...value] = byId("traffic-of").value.split("=");
  const query = name === "" ? {} : { [name]: value.join("=") };
  const asked = byId("traffic-of").value;
  const told = await call("v1/traffic", { query });
  // The choice has changed meanwhile.
  if (asked !== byId("traffic-of").value) return;
  step = told.step_seconds;
  points = told.points.map((each) => ({ ...each, time: Date.parse(each.at) }));
  redraw();
}

/** Draws what is known. */
export function redraw() {
  const width = Math.floor(frame.clientWidth);
  if (width < 100) return;
  empty.hidden = points.length > 0;
  const purges = recent().map((purge) => Date.parse(purge.created_at));
  place = draw(picture, width, { points, step, purges });
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
  say(time, pointed === null ? "now" : clock(shown.time));
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
    `${clock(shown.time)}: ${PARTS.map(([, name, words]) => `${name} ${words(shown)}`).join(", ")}`,
  );
}
