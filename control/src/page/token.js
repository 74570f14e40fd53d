// The token: asked for when control wants one, tried before it is kept.

import { byId, tell } from "./dom.js";
import { call, token } from "./api.js";

const dialog = byId("token");
const secret = byId("token-secret");
const wrong = byId("wrong-token");
let used = () => {};

/** Whether a token is being asked for: until then calls are of no use. */
export const isAsking = () => dialog.open;

/** Wires the dialog; `then` runs once control takes a token, or the token was forgotten. */
export function wire(then) {
  used = then;
  dialog.addEventListener("cancel", (event) => {
    // There is nothing behind it to go back to.
    if (!byId("view-overview").dataset.shown) event.preventDefault();
  });
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt();
  });
  byId("forget").addEventListener("click", () => {
    token.forget();
    showForget();
    used();
  });
  showForget();
}

function showForget() {
  byId("forget").hidden = token.read() === null;
}

/** Asks for a token because of `refused`. */
export function askFor(refused) {
  if (dialog.open) return;
  const known = token.read() !== null;
  tell(
    byId("token-text"),
    known
      ? `Control refused the token: ${refused.message}.`
      : "Control requires a token.",
  );
  // If no tokens are configured, a token does not help: show control's own message.
  const words = refused.status === 403 && !known ? `Control says: ${refused.message}.` : null;
  if (words) tell(byId("token-text"), words);
  tell(wrong, null);
  secret.removeAttribute("aria-invalid");
  secret.value = "";
  dialog.showModal();
  secret.focus();
}

async function attempt() {
  const given = secret.value.trim();
  if (!given) return refuse("enter the secret of a token");
  const button = dialog.querySelector("button");
  button.disabled = true;
  try {
    await call("v1/stats", { secret: given });
  } catch (refused) {
    return refuse(refused.message);
  } finally {
    button.disabled = false;
  }
  token.keep(given);
  secret.value = "";
  dialog.close();
  showForget();
  used();
}

function refuse(why) {
  tell(wrong, why);
  secret.setAttribute("aria-invalid", "true");
  secret.select();
  secret.focus();
}
