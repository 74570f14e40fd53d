// Calls to control: with the token if there is one, and only to the server of this document.

const KEPT = "weir-token";

/** The token, for as long as this tab lives. */
export const token = {
  read: () => sessionStorage.getItem(KEPT),
  keep: (secret) => sessionStorage.setItem(KEPT, secret),
  forget: () => sessionStorage.removeItem(KEPT),
};

/** Why a call failed: `status` is 0 if control did not answer. */
export class Refused extends Error {
  constructor(status, { code = "unreachable", message, field = null }) {
    super(message);
    Object.assign(this, { status, code, field });
  }
}

/** Where a call is. Values that are null, undefined or empty are left out; lists are repeated. */
function address(path, query) {
  const url = new URL(path, document.baseURI.split("#")[0]);
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of [value].flat()) {
      if (one !== null && one !== undefined && one !== "") url.searchParams.append(name, one);
    }
  }
  return url;
}

async function ask(path, { query, body, method, signal, secret = token.read() } = {}) {
  const headers = new Headers();
  // A value that is not valid in a header is not a valid token.
  if (secret && !/^[\x21-\x7e]+$/.test(secret)) {
    throw new Refused(401, {
      code: "unauthenticated",
      message: "a token has visible ASCII characters only",
    });
  }
  if (secret) headers.set("Authorization", `Bearer ${secret}`);
  if (body !== undefined) headers.set("Content-Type", "application/json");
  let response;
  try {
    response = await fetch(address(path, query), {
      method: method ?? (body === undefined ? "GET" : "POST"),
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused(0, { message: "control does not answer" });
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => null);
  const message = `control answered ${response.status}`;
  throw new Refused(response.status, said?.error ?? { code: "unknown", message });
}

/** Calls control; the answer's JSON. A purge that is not done yet (202) is an answer, too. */
export async function call(path, given) {
  const response = await ask(path, given);
  try {
    return await response.json();
  } catch {
    throw new Refused(0, { message: "control's answer was incomplete" });
  }
}

/** Calls control; the answer as it comes, for a file. */
export async function blob(path, given) {
  const response = await ask(path, given);
  try {
    return await response.blob();
  } catch {
    throw new Refused(0, { message: "control's answer was incomplete" });
  }
}

const LONGEST_SILENCE = 40_000;
const PAUSES = [1000, 2000, 4000, 8000, 15_000, 30_000];

/**
 * Follows control's events for the life of the page: calls `hear(name, data)` for each event, and
 * `state("live")` or `state("lost", why, seconds to the next attempt)`. Reconnects after every loss,
 * with growing pauses. An EventSource could not send a token.
 */
export async function listen(hear, state) {
  for (let failed = 0;; failed += 1) {
    let why = "the connection ended";
    try {
      await follow(hear, () => {
        failed = 0;
        state("live");
      });
    } catch (error) {
      if (error instanceof Refused) why = error.message;
    }
    const pause = PAUSES[Math.min(failed, PAUSES.length - 1)] * (0.8 + 0.4 * Math.random());
    state("lost", why, Math.round(pause / 1000));
    await again(pause);
  }
}

let wake = () => {};

/** Not to wait any longer: there is another token. */
export const listenAgain = () => wake();

function again(pause) {
  return new Promise((done) => {
    wake = done;
    setTimeout(done, pause);
  });
}

async function follow(hear, begun) {
  const stop = new AbortController();
  wake = () => stop.abort();
  let silence = setTimeout(() => stop.abort(), LONGEST_SILENCE);
  try {
    const response = await ask("v1/events", { signal: stop.signal });
    begun();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(() => stop.abort(), LONGEST_SILENCE);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) tellOf(block, hear);
    }
  } finally {
    clearTimeout(silence);
  }
}

/** One event in the form of the HTML standard, §9.2.6, as far as control uses it. */
function tellOf(block, hear) {
  const lines = block.split("\n").map((line) => line.split(/: ?(.*)/s));
  const of = (field) => lines.find(([name]) => name === field)?.[1];
  if (of("event") && of("data")) hear(of("event"), JSON.parse(of("data")));
}
