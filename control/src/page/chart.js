// Draws traffic over time: hits and misses, stacked; errors; and response times, on a logarithmic
// scale. All share the time axis and one pointer line.

import { svg } from "./dom.js";
import { linear, logarithmic, powers, roundUp } from "./scale.js";
import { clock, day, figure, millis } from "./words.js";

const RIGHT = 10;
const REQUESTS = { top: 10, height: 150 };
const ERRORS = { top: 178, height: 22 };
const LATENCY = { top: 218, height: 90 };
const BOTTOM = LATENCY.top + LATENCY.height;
export const HEIGHT = BOTTOM + 24;

/** Shortest time shown. From there to the longest, the chart starts where the data begins. */
const SHORTEST = 20_000;

/** Milliseconds from one mark of the time axis to the next: the first that leaves room for labels. */
const MARKS = [
  ...[5, 10, 30, 60, 120, 240, 600, 1200, 3600, 7200, 14_400, 21_600, 43_200],
  ...[1, 2, 4, 8, 16].map((days) => days * 86_400),
].map((seconds) => seconds * 1000);

/** Pixels that a label of the time axis needs. */
const LABEL = 70;

/** Pixels around the labels at the left. */
const BESIDE = 10;

/** Draws `points` (each with `time`) and `purges` (times) into `root`. Returns the scales of time. */
export function draw(root, width, { points, step, purges, longest }) {
  const levels = {
    requests: requestLevels(points),
    errors: errorLevel(points),
    latency: latencyLevels(points),
  };
  const left = leftOf(root, levels);
  const end = points.at(-1)?.time ?? Date.now();
  const shortest = Math.max(SHORTEST, step * 2000);
  const begin = end - Math.min(longest, Math.max(shortest, end - (points[0]?.time ?? end)));
  const x = linear(begin, end, left, width - RIGHT);
  const place = { left, right: width - RIGHT, x };
  const runs = runsOf(points, step * 2500);
  root.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  root.replaceChildren(
    ...times(begin, end, place),
    ...requests(runs, levels.requests, place),
    ...errors(points, step, levels.errors, place),
    ...latency(runs, levels.latency, place),
    ...purges.filter((time) => time > begin && time <= end).map((time) => mark(x(time))),
    svg("line", { class: "pointer", y1: REQUESTS.top, y2: BOTTOM, visibility: "hidden" }),
  );
  return { x, at: linear(left, width - RIGHT, begin, end) };
}

/** Pixels that the labels at the left take: as many as the widest one in the font of the reader. */
function leftOf(root, { requests, errors, latency }) {
  const probe = svg("text", { class: "tick", visibility: "hidden" });
  root.append(probe);
  const texts = [...requests.map(figure), figure(errors), ...latency.map(millis)];
  const widths = texts.map((text) => {
    probe.textContent = text;
    return probe.getComputedTextLength();
  });
  probe.remove();
  return Math.ceil(Math.max(...widths)) + BESIDE;
}

/** The values with a line: none, half and all of the most. */
function requestLevels(points) {
  const most = roundUp(Math.max(1, ...points.map((point) => point.requests_per_second)));
  return [0, most / 2, most];
}

/** The top of the errors; 0 where there are none. */
function errorLevel(points) {
  const most = Math.max(0, ...points.map((point) => point.errors_per_second));
  return most > 0 ? roundUp(Math.max(1, most)) : 0;
}

/** Powers of ten from below the least response time to above the longest. */
function latencyLevels(points) {
  const known = points.flatMap((point) => [point.p50_ms, point.p99_ms]).filter((ms) => ms > 0);
  const least = 10 ** Math.floor(Math.log10(Math.max(0.01, Math.min(1, ...known))));
  const most = 10 ** Math.ceil(Math.log10(Math.max(least * 100, ...known)));
  return powers(least, most);
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

function times(begin, end, { left, right, x }) {
  const most = Math.max(2, (right - left) / LABEL);
  const every = MARKS.find((each) => (end - begin) / each <= most) ?? MARKS.at(-1);
  const label = (time) => {
    const digits = every < 60_000 ? 8 : 5;
    const words = clock(time).slice(0, digits);
    return every >= 3_600_000 && words.startsWith("00:00") ? day(time) : words;
  };
  const marks = [];
  // Round where the reader is.
  const off = new Date(end).getTimezoneOffset() * 60_000;
  for (let time = Math.ceil((begin - off) / every) * every + off; time <= end; time += every) {
    const at = x(time);
    if (at < left + LABEL / 3 || at > right - LABEL / 3) continue;
    marks.push(
      svg("line", { class: "grid", x1: at, x2: at, y1: REQUESTS.top, y2: BOTTOM }),
      svg(
        "text",
        { class: "tick", x: at, y: BOTTOM + 16, "text-anchor": "middle" },
        label(time),
      ),
    );
  }
  return marks;
}

function requests(runs, values, place) {
  const { top, height } = REQUESTS;
  const { x } = place;
  const y = linear(0, values.at(-1), top + height, top);
  const stacked = (run, low, high) =>
    area(run, x, (point) => y(low(point)), (point) => y(high(point)));
  const hits = (point) => point.hits_per_second;
  const all = (point) => point.requests_per_second;
  return [
    ...lines(values, y, place, figure),
    ...runs.map((run) => svg("path", { class: "hits", d: stacked(run, () => 0, hits) })),
    ...runs.map((run) => svg("path", { class: "misses", d: stacked(run, hits, all) })),
    ...runs.map((run) =>
      svg("path", { class: "hits-edge", d: line(run, x, "hits_per_second", y) })
    ),
    caption("requests /s", top, place),
  ];
}

function errors(points, step, most, place) {
  const { top, height } = ERRORS;
  const { left, right, x } = place;
  const y = linear(0, Math.max(1, most), top + height, top);
  const bar = Math.max(1, x(step * 1000) - x(0) - 0.5);
  const some = points.filter((point) => point.errors_per_second > 0);
  return [
    svg("line", { class: "axis", x1: left, x2: right, y1: top + height, y2: top + height }),
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
      { class: "tick", x: left - 6, y: top + height, "text-anchor": "end" },
      figure(most),
    ),
    caption(some.length > 0 ? "errors /s" : "no errors", top, place),
  ];
}

function latency(runs, marks, place) {
  const { top, height } = LATENCY;
  const y = logarithmic(marks[0], marks.at(-1), top + height, top);
  const of = (name) =>
    runs.map((run) => svg("path", { class: name, d: line(run, place.x, `${name}_ms`, y) }));
  const shown = marks.length > 4 ? marks.filter((_, at) => at % 2 === 0) : marks;
  return [
    ...lines(shown, y, place, millis),
    ...of("p99"),
    ...of("p50"),
    caption("response time", top, place),
  ];
}

function lines(values, y, { left, right }, words) {
  return values.flatMap((value) => [
    svg("line", {
      class: value === values[0] ? "axis" : "grid",
      x1: left,
      x2: right,
      y1: y(value),
      y2: y(value),
    }),
    svg(
      "text",
      { class: "tick", x: left - 6, y: y(value) + 4, "text-anchor": "end" },
      words(value),
    ),
  ]);
}

const caption = (text, top, { left }) =>
  svg("text", { class: "caption", x: left + 6, y: top + 11 }, text);

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
