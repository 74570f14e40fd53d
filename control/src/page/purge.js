// The form that purges: every kind of target, and control's answer as it is.

import { byId, el, say, tell } from "./dom.js";
import { call } from "./api.js";
import { known, matched, refresh, stateOf, what } from "./history.js";
import { KINDS, some } from "./words.js";

const form = byId("purge");
const answer = byId("purge-answer");
/** The last purge of this form; its progress is shown until it is complete. */
let mine = null;

/** Wires the form. */
export function wire() {
  byId("targets").append(...KINDS.map(field));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  form.addEventListener("reset", () => {
    clearWrong();
    clearAnswer();
    mine = null;
  });
  // In a text of several lines Enter makes a line; with Control or Command it sends.
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}

function field({ name, label, example, width }) {
  return el(
    "div",
    { class: `field ${width}` },
    el("label", { for: `purge-${name}` }, label),
    el("textarea", {
      id: `purge-${name}`,
      name,
      rows: "1",
      placeholder: example,
      spellcheck: "false",
      autocomplete: "off",
      autocapitalize: "none",
      "aria-describedby": `wrong-${name}`,
    }),
    el("p", { class: "wrong", id: `wrong-${name}`, hidden: true }),
  );
}

/** The sites to choose from; if control has none configured, any id can be entered. */
export function sites(ids) {
  const now = byId("purge-site");
  const written = JSON.stringify(ids);
  if (now.written === written) return;
  const chosen = now.value;
  const next = ids.length > 0
    ? el(
      "select",
      { id: "purge-site", name: "site" },
      el("option", { value: "" }, "all sites"),
      ...ids.map((id) => el("option", { value: id }, id)),
    )
    : el("input", {
      id: "purge-site",
      name: "site",
      placeholder: "all sites",
      autocomplete: "off",
      spellcheck: "false",
    });
  next.setAttribute("aria-describedby", "wrong-site");
  next.written = written;
  now.replaceWith(next);
  if (ids.length === 0 || ids.includes(chosen)) next.value = chosen;
}

/** Fills the form from an address such as `#purges?tags=a`; it is not sent. */
export function open(asked) {
  const named = KINDS.filter(({ name }) => asked.has(name));
  if (named.length === 0) return;
  form.reset();
  for (const { name } of named) form.elements[name].value = asked.getAll(name).join("\n");
  form.elements[named[0].name].focus();
}

function read() {
  const lines = (name) =>
    form.elements[name].value.split("\n").map((line) => line.trim()).filter(Boolean);
  const body = {};
  for (const { name } of KINDS) if (lines(name).length > 0) body[name] = lines(name);
  for (const name of ["all", "soft", "versions", "warm"]) {
    if (form.elements[name].checked) body[name] = true;
  }
  for (const name of ["site", "reference"]) {
    const text = form.elements[name].value.trim();
    if (text) body[name] = text;
  }
  return body;
}

async function ask() {
  clearWrong();
  const body = read();
  if (body.all && !(await sure(body))) return;
  const button = form.querySelector(".primary");
  button.disabled = true;
  clearAnswer();
  answer.append(el("p", { class: "faint" }, "sending …"));
  try {
    const told = await call("v1/purges", { body, query: { count: "true" } });
    mine = told.id;
    clearTargets();
    await refresh().catch(() => {});
    show({ ...body, ...told });
  } catch (refused) {
    clearAnswer();
    wrong(refused);
  } finally {
    button.disabled = false;
  }
}

/** Asks for confirmation before everything is purged. */
function sure(body) {
  const dialog = byId("confirm");
  const what = `all stored responses of ${body.site ? `the site ${body.site}` : "every site"}`;
  say(
    byId("confirm-text"),
    `${
      body.soft ? `Marks ${what} as stale` : `Removes ${what}`
    } on every node. The next request for each URL goes to the origin.`,
  );
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}

/** The progress of the purge, until every node has applied it. */
function show(purge, pause = 500) {
  if (purge.id !== mine) return;
  const sum = matched(purge);
  const done = purge.status === "completed";
  const words = done ? "Completed" : "Accepted, in progress";
  const took = done && sum !== null ? `, ${some(sum, "stored response")} matched` : "";
  const shown = `${words}: ${stateOf(purge)}${took}.`;
  // Read aloud when it changes, so only then.
  if (answer.written !== shown) {
    answer.written = shown;
    answer.replaceChildren(
      el(
        "div",
        { class: "answer", "data-status": purge.status },
        el("p", {}, shown),
        el("p", { class: "labels" }, ...what(purge)),
        purge.note ? el("p", { class: "faint" }, `${purge.note}.`) : null,
      ),
    );
  }
  if (!done || sum === null) {
    setTimeout(async () => {
      const now = known(purge.id) ??
        (await call(`v1/purges/${encodeURIComponent(purge.id)}`).catch(() => purge));
      show({ ...purge, ...now }, Math.min(10_000, pause * 1.3));
    }, pause);
  }
}

/** What was purged is not purged again by a second click. */
function clearTargets() {
  for (const { name } of KINDS) form.elements[name].value = "";
  form.elements.reference.value = "";
  form.elements.all.checked = false;
}

function clearAnswer() {
  answer.written = null;
  answer.replaceChildren();
}

function clearWrong() {
  for (const element of form.querySelectorAll(".wrong")) tell(element, null);
  for (const element of form.querySelectorAll("[aria-invalid]")) {
    element.removeAttribute("aria-invalid");
  }
}

/** The line number of the item at index `at`: empty lines are not sent. */
function lineOf(input, at) {
  const lines = [...input.value.split("\n").entries()].filter(([, line]) => line.trim() !== "");
  return (lines[at]?.[0] ?? at) + 1;
}

/** Control's refusal, beside the field that it names: `paths[1]` is the second line of paths. */
function wrong(refused) {
  const [, name, at] = /^(\w+)(?:\[(\d+)\])?$/.exec(refused.field ?? "") ?? [];
  // Control may have received it: only the log knows.
  if (refused.status === 0) {
    return tell(byId("wrong-purge"), "No answer. The history shows whether the purge was accepted.");
  }
  const place = name && byId(`wrong-${name}`);
  if (!place || !form.contains(place)) return tell(byId("wrong-purge"), `${refused.message}.`);
  const input = form.elements[name];
  const line = at === undefined ? "" : `line ${lineOf(input, Number(at))}: `;
  tell(place, `${line}${refused.message}`);
  input.setAttribute("aria-invalid", "true");
  input.focus();
}
