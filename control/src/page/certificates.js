// Certificates: the names, when each ends, and why the last order failed.

import { byId, el, keep, say } from "./dom.js";
import { call } from "./api.js";
import { seconds } from "./words.js";

/** Fetches them again. The section is not shown where there are none. */
export async function refresh() {
  const { certificates } = await call("v1/certificates");
  byId("certificates-panel").hidden = certificates.length === 0;
  keep(byId("certificates"), certificates, nameOf, row, update);
}

const nameOf = (one) => one.name ?? one.names.join(", ");

function row(one) {
  return el(
    "li",
    { class: "certificate" },
    el("span", { class: "name" }, nameOf(one)),
    el("span", { class: "faint" }, one.source === "file" ? "from a file" : "ordered"),
    el("span", { class: "expires" }),
    el("span", { class: "wrong" }),
  );
}

function update(child, one) {
  const left = one.expires === null ? null : one.expires - Date.now() / 1000;
  const [, , expires, wrong] = child.children;
  say(expires, left === null ? "none yet" : left < 0 ? "expired" : `expires in ${seconds(left)}`);
  expires.dataset.tone = left !== null && left < 86_400 ? "bad" : "";
  say(wrong, one.error ?? (one.unrevoked > 0 ? "a replaced certificate is not revoked yet" : ""));
  wrong.hidden = !wrong.textContent;
}
