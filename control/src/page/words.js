// Figures and names in words.

export const NONE = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** How many. */
export const count = (n) => (n === null || n === undefined ? NONE : whole.format(n));

/** "1 node", "3 nodes". */
export const some = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** To about three digits. */
export function figure(n) {
  if (n === null || n === undefined) return NONE;
  if (n === 0) return "0";
  if (n < 10) return n < 0.05 ? "<0.1" : n.toFixed(1).replace(/\.0$/, "");
  if (n < 100_000) return whole.format(n);
  return n < 1_000_000 ? `${whole.format(n / 1000)}k` : `${(n / 1_000_000).toFixed(1)}M`;
}

/** A share of one, in percent. What is not quite all is not rounded up to all. */
export function percent(share) {
  if (share === null || share === undefined) return NONE;
  const tenths = Math.floor(share * 1000) / 10;
  return `${tenths === 100 || tenths === 0 ? tenths : tenths.toFixed(1)} %`;
}

/** Milliseconds. */
export function millis(ms) {
  if (ms === null || ms === undefined) return NONE;
  if (ms < 0.095) return `${ms.toFixed(2)} ms`;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  return ms < 59_950 ? `${(ms / 1000).toFixed(1)} s` : seconds(ms / 1000);
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Bytes. */
export function bytes(n) {
  if (n === null || n === undefined) return NONE;
  let at = 0;
  while (n >= 1000 && at < SIZES.length - 1) {
    n /= 1024;
    at += 1;
  }
  return `${at === 0 || n >= 10 ? Math.round(n) : n.toFixed(1)} ${SIZES[at]}`;
}

/** A length of time. */
export function seconds(s) {
  if (s === null || s === undefined) return NONE;
  const t = Math.max(0, Math.round(s));
  if (t < 120) return `${t} s`;
  if (t < 7200) return `${Math.floor(t / 60)} min`;
  if (t < 172_800) return `${Math.floor(t / 3600)} h`;
  return `${whole.format(Math.floor(t / 86_400))} d`;
}

/** How long ago a time was. */
export function ago(time) {
  const s = (Date.now() - Date.parse(time)) / 1000;
  return s < 2 ? "just now" : `${seconds(s)} ago`;
}

/** The time of day, here. */
export const clock = (time) => new Date(time).toLocaleTimeString("en-GB");

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** The day, here. */
export const day = (time) => DAY.format(new Date(time));

/** The time of day, with the day where a range of so many seconds has several. */
export const when = (time, range) =>
  range < 86_400 ? clock(time) : `${day(time)}, ${clock(time).slice(0, 5)}`;

/** "a", "a and b", "a, b and 3 more". */
export function list(names, most = 4) {
  const more = names.length - most;
  if (more > 0) return `${names.slice(0, most).join(", ")} and ${more} more`;
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** The kinds of targets: the list of them in a call, the word for one, and the field of the form. */
export const KINDS = [
  { name: "paths", kind: "path", label: "Paths", example: "/articles/1  or  /img/*", width: "wide" },
  { name: "tags", kind: "tag", label: "Tags", example: "article-1", width: "" },
  { name: "prefixes", kind: "prefix", label: "Prefixes", example: "/blog", width: "" },
  { name: "urls", kind: "url", label: "URLs", example: "https://example.com/a?b=c", width: "wide" },
  { name: "hosts", kind: "host", label: "Hosts", example: "www.example.com", width: "wide" },
];

/** What a purge names, as [kind, text] pairs. */
export function targets(purge) {
  const named = KINDS.flatMap(({ name, kind }) => (purge[name] ?? []).map((text) => [kind, text]));
  return purge.all ? [...named, ["all", "everything"]] : named;
}
