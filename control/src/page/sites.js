// Sites: a row for each, with the totals of the range that traffic shows.

import { byId, el, keep, say } from "./dom.js";
import { bytes, count, millis, percent } from "./words.js";

const NOTHING = {
  requests: 0,
  hit_ratio: null,
  bytes: 0,
  bytes_saved: 0,
  origin_requests: 0,
  status: { "4xx": 0, "5xx": 0 },
  p99_ms: null,
};

const COLUMNS = [
  ["requests", (site) => count(site.requests)],
  ["hit ratio", (site) => share(site.hit_ratio)],
  ["sent", (site) => bytes(site.bytes)],
  ["saved", (site) => bytes(site.bytes_saved)],
  ["origin requests", (site) => count(site.origin_requests)],
  ["4xx", (site) => count(site.status["4xx"])],
  ["5xx", (site) => count(site.status["5xx"]), (site) => site.status["5xx"] > 0 ? "bad" : ""],
  ["p99", (site) => site.p99_ms === null ? "no requests" : millis(site.p99_ms)],
];

const share = (ratio) => ratio === null ? "no requests" : percent(ratio);

/** Shows the totals of each site, and of those without any of `known`. */
export function show(groups, known, range) {
  const told = groups.map((group) => group.site);
  const idle = known.filter((id) => !told.includes(id)).map((site) => ({ ...NOTHING, site }));
  // Without a name: what no site took. It is no row where nothing was.
  const rows = [...groups.filter((group) => group.site !== "" || group.requests > 0), ...idle];
  rows.sort((a, b) => b.requests - a.requests || a.site.localeCompare(b.site));
  byId("sites-panel").hidden = rows.length === 0;
  say(byId("sites-note"), `over ${range}`);
  keep(byId("sites"), rows, (row) => row.site, make, update);
}

function make(row) {
  return el(
    "tr",
    {},
    el("td", { class: "name" }, row.site === "" ? "(no site)" : row.site),
    ...COLUMNS.map(([name]) => el("td", { class: "number", "data-name": name })),
  );
}

function update(child, row) {
  COLUMNS.forEach(([, words, tone], at) => {
    const cell = child.children[at + 1];
    say(cell, words(row));
    cell.dataset.tone = tone ? tone(row) : "";
  });
}
