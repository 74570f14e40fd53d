// Entry point: the views, their regular refreshes, and the stream of events.

import { byId, options, say, shown, tell } from "./dom.js";
import { call, listen, listenAgain } from "./api.js";
import { askFor, isAsking, wire } from "./token.js";
import { clock } from "./words.js";
import * as topology from "./topology.js";
import * as traffic from "./traffic.js";
import * as purge from "./purge.js";
import * as history from "./history.js";
import * as explain from "./explain.js";
import * as content from "./content.js";
import * as certificates from "./certificates.js";
import * as nodes from "./nodes.js";
import * as origins from "./origins.js";

const VIEWS = ["overview", "purges", "explain", "content"];
const TITLES = {
  overview: "weir",
  purges: "Purges · weir",
  explain: "Explain · weir",
  content: "Content · weir",
};

let view = null;
let lost = null;

/** What each view fetches, and the interval in milliseconds; null is every view. */
const LOOKS = [
  { every: 2000, view: null, look: figures },
  { every: 2000, view: "overview", look: traffic.refresh },
  { every: 2000, view: "purges", look: history.refresh },
  { every: 10_000, view: "overview", look: history.refresh },
  { every: 5000, view: "content", look: content.refresh },
  { every: 5000, view: "explain", look: explain.refresh },
  { every: 10_000, view: "overview", look: certificates.refresh },
  { every: 5000, view: "overview", look: origins.refresh },
  { every: 5000, view: "overview", look: lately },
];

/** What the last ten minutes came to, for where the last ten seconds had no requests. */
async function lately() {
  topology.lately(await call("v1/traffic", { query: { by: "node" } }));
}

async function figures() {
  const stats = await call("v1/stats");
  byId("view-overview").dataset.shown = "yes";
  topology.show(stats);
  nodes.show(stats.by_node ?? []);
  traffic.choices(stats);
  purge.sites(stats.site_ids ?? []);
  history.head(stats.log.head);
  const names = (stats.by_node ?? []).map((node) => [node.name, node.name]);
  options(byId("explain-node"), [["", "every node"], ...names]);
  options(byId("content-node"), [["", "all edges"], ...names]);
}

/** Runs `look` now and then, never twice at once, and not while nobody could see it. */
function regularly({ every, view: of, look }) {
  let running = false;
  const now = async () => {
    if (running || document.hidden || isAsking() || (of && of !== view)) return;
    running = true;
    try {
      await look();
      if (look === figures) recovered();
    } catch (error) {
      failed(error);
    } finally {
      running = false;
    }
  };
  setInterval(now, every);
  return now;
}

const looks = LOOKS.map((each) => ({ ...each, now: regularly(each) }));

function lookNow() {
  for (const each of looks) each.now();
}

function failed(error) {
  if (error.status === 401 || error.status === 403) return askFor(error);
  if (error.status === undefined) throw error;
  lost ??= clock(Date.now());
  tell(byId("trouble"), `No update since ${lost}: ${error.message}.`);
  document.body.classList.add("old");
}

function recovered() {
  if (lost === null) return;
  lost = null;
  tell(byId("trouble"), null);
  document.body.classList.remove("old");
}

/** Shows the view that the address names; `#explain?url=…` asks at once. */
function route() {
  const [name, query] = location.hash.slice(1).split("?");
  if (name === "main") return;
  const next = VIEWS.includes(name) ? name : "overview";
  const moved = view !== null && next !== view;
  view = next;
  for (const each of VIEWS) {
    byId(`view-${each}`).hidden = each !== view;
    const link = document.querySelector(`nav a[href="#${each}"]`);
    if (each === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = TITLES[view];
  if (moved) scrollTo(0, 0);
  const asked = new URLSearchParams(query ?? "");
  if (view === "explain") explain.open(asked);
  if (view === "purges") {
    purge.open(asked);
    history.open(asked);
  }
  lookNow();
}

function told(state, why, seconds) {
  const live = byId("live");
  live.dataset.state = state;
  say(live.lastElementChild, state === "live" ? "live" : `not live, retrying in ${seconds} s`);
  live.title = shown(why ?? "");
}

const THEMES = ["auto", "light", "dark"];

function theme() {
  const root = document.documentElement;
  const show = () => say(byId("theme"), `Theme: ${root.dataset.theme}`);
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
    try {
      localStorage.setItem("weir-theme", root.dataset.theme);
    } catch {
      // Then it holds for this document.
    }
    show();
    traffic.redraw();
  });
  show();
}

theme();
wire(() => {
  listenAgain();
  lookNow();
});
purge.wire();
explain.wire();
content.wire(lookNow);
traffic.wire();
byId("nodes-filter").addEventListener("input", nodes.refresh);
document.addEventListener("visibilitychange", () => !document.hidden && lookNow());
addEventListener("hashchange", route);
route();
// Other views do not react to events.
listen((name, data) => view === "purges" && history.heard(name, data), told);
