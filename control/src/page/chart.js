// Draws traffic over time: hits and misses, stacked; errors; and response times, on a logarithmic
// scale. All share the time axis and one pointer line.

import { svg } from "./dom.js";
import { linear, logarithmic, powers, roundUp } from "./scale.js";
import { clock, figure, millis } from "./words.js";

const LEFT = 46;
const RIGHT = 10;
const REQUESTS = { top: 10, height: 150 };
const ERRORS = { top: 178, height: 22 };
const LATENCY = { top: 218, height: 90 };
const BOTTOM = LATENCY.top + LATENCY.height;
export const HEIGHT = BOTTOM + 24;

/** Longest and shortest time shown. In between, the chart starts where the data begins. */
const LONGEST = 600_000;
const SHORTEST = 20_000;

/** Milliseconds from one mark of the time axis to the next: the first that leaves room for labels. */
const MARKS = [5000, 10_000, 30_000, 60_000, 120_000, 240_000];

/** Pixels that a label of the time axis needs. */
const LABEL = 70;

/** Draws `points` (each with `time`) and `purges` (times) into `root`. Returns the scales of time. */
export function draw(root, width, { points, step, purges }) {
  const end = points.at(-1)?.time ?? Date.now();
  const begin = end - Math.min(LONGEST, Math.max(SHORTEST, end - (points[0]?.time ?? end)));
  const x = linear(begin, end, LEFT, width - RIGHT);
  const runs = runsOf(points, step * 2500);
  root.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  root.replaceChildren(
    ...times(begin, end, x, width),
    ...requests(runs, points, x, width),
    ...errors(points, step, x, width),
    ...latency(runs, points, x, width),
    ...purges.filter((time) => time > begin && time <= end).map((time) => mark(x(time))),
    svg("line", { class: "pointer", y1: REQUESTS.top, y2: BOTTOM, visibility: "hidden" }),
  );
  return { x, at: linear(LEFT, width - RIGHT, begin, end) };
}

/** Points that follow each other; what was not measured is a gap, not a line. */
function runsOf(points, gap) {
  const runs = [];
  for (const point of points) {
    const run = runs.at(-1);
    if (run && point.time - run.at(-1).time <= gap) run.push(point);
    else runs.push([point]);
  }
  return runs;
}

function times(begin, end, x, width) {
  const most = Math.max(2, (width - LEFT - RIGHT) / LABEL);
  const every = MARKS.find((each) => (end - begin) / each <= most) ?? MARKS.at(-1);
  const digits = every < 60_000 ? 8 : 5;
  const marks = [];
  for (let time = Math.ceil(begin / every) * every; time <= end; time += every) {
    const at = x(time);
    if (at < LEFT + LABEL / 3 || at > width - RIGHT - LABEL / 3) continue;
    marks.push(
      svg("line", { class: "grid", x1: at, x2: at, y1: REQUESTS.top, y2: BOTTOM }),
      svg(
        "text",
        { class: "tick", x: at, y: BOTTOM + 16, "text-anchor": "middle" },
        clock(time).slice(0, digits),
      ),
    );
  }
  return marks;
}

function requests(runs, points, x, width) {
  const { top, height } = REQUESTS;
  const most = roundUp(Math.max(1, ...points.map((point) => point.requests_per_second)));
  const y = linear(0, most, top + height, top);
  const stacked = (run, low, high) =>
    area(run, x, (point) => y(low(point)), (point) => y(high(point)));
  const hits = (point) => point.hits_per_second;
  const all = (point) => point.requests_per_second;
  return [
    ...levels([0, most / 2, most], y, width, figure),
    ...runs.map((run) => svg("path", { class: "hits", d: stacked(run, () => 0, hits) })),
    ...runs.map((run) => svg("path", { class: "misses", d: stacked(run, hits, all) })),
    ...runs.map((run) =>
      svg("path", { class: "hits-edge", d: line(run, x, "hits_per_second", y) })
    ),
    caption("requests /s", top),
  ];
}

function errors(points, step, x, width) {
  const { top, height } = ERRORS;
  const most = roundUp(Math.max(1, ...points.map((point) => point.errors_per_second)));
  const y = linear(0, most, top + height, top);
  const bar = Math.max(1, x(step * 1000) - x(0) - 0.5);
  const some = points.filter((point) => point.errors_per_second > 0);
  return [
    svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: top + height, y2: top + height }),
    ...some.map((point) =>
      svg("rect", {
        class: "errors",
        x: x(point.time) - bar,
        width: bar,
        y: Math.min(y(point.errors_per_second), top + height - 2),
        height: Math.max(2, top + height - y(point.errors_per_second)),
      })
    ),
    svg(
      "text",
      { class: "tick", x: LEFT - 6, y: top + height, "text-anchor": "end" },
      some.length > 0 ? `${figure(most)}` : "0",
    ),
    caption(some.length > 0 ? "errors /s" : "no errors", top),
  ];
}

function latency(runs, points, x, width) {
  const { top, height } = LATENCY;
  const known = points.flatMap((point) => [point.p50_ms, point.p99_ms]).filter((ms) => ms > 0);
  const least = 10 ** Math.floor(Math.log10(Math.max(0.01, Math.min(1, ...known))));
  const most = 10 ** Math.ceil(Math.log10(Math.max(least * 100, ...known)));
  const y = logarithmic(least, most, top + height, top);
  const of = (name) =>
    runs.map((run) => svg("path", { class: name, d: line(run, x, `${name}_ms`, y) }));
  const marks = powers(least, most);
  const shown = marks.length > 4 ? marks.filter((_, at) => at % 2 === 0) : marks;
  return [
    ...levels(shown, y, width, millis),
    ...of("p99"),
    ...of("p50"),
    caption("response time", top),
  ];
}

function levels(values, y, width, words) {
  return values.flatMap((value) => [
    svg("line", {
      class: value === values[0] ? "axis" : "grid",
      x1: LEFT,
      x2: width - RIGHT,
      y1: y(value),
      y2: y(value),
    }),
    svg(
      "text",
      { class: "tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" },
      words(value),
    ),
  ]);
}

const caption = (text, top) => svg("text", { class: "caption", x: LEFT + 6, y: top + 11 }, text);

const mark = (x) =>
  svg("path", {
    class: "purge-mark",
    d: `M${x.toFixed(1)} ${REQUESTS.top + REQUESTS.height}l-4 7h8z`,
  });

function area(run, x, low, high) {
  const at = (point, y) => `${x(point.time).toFixed(1)} ${y(point).toFixed(1)}`;
  const back = run.toReversed().map((point) => at(point, low));
  return `M${run.map((point) => at(point, high)).join("L")}L${back.join("L")}Z`;
}

/** A line that is interrupted where there was nothing to measure. */
function line(run, x, name, y) {
  let pen = "M";
  let d = "";
  for (const point of run) {
    if (point[name] === null) {
      pen = "M";
    } else {
      d += `${pen}${x(point.time).toFixed(1)} ${y(point[name]).toFixed(1)}`;
      pen = "L";
    }
  }
  return d;
}
