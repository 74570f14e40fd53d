// Elements, made and kept. All text goes in as text: there is no way here to pass markup. What is not
// seen in it, or changes what it looks like, is shown as an escape.

/** As in rules/src/shown.rs, but for line breaks. */
const HIDDEN =
  /[\u{0}-\u{9}\u{b}-\u{1f}\u{7f}-\u{9f}\u{ad}\u{34f}\u{61c}\u{115f}-\u{1160}\u{17b4}-\u{17b5}\u{180b}-\u{180f}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2060}-\u{206f}\u{2800}\u{3164}\u{fe00}-\u{fe0f}\u{feff}\u{ffa0}\u{fff0}-\u{fffb}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;

/** A text of others as it is shown. */
export const shown = (text) =>
  String(text).replace(HIDDEN, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

/** An element. Attributes that are null, undefined or false are left out; `on` holds listeners. */
export function el(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same in SVG. */
export function svg(name, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) {
        element.addEventListener(event, listener);
      }
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : name === "title" ? shown(value) : value);
    }
  }
  const present = children.flat().filter((child) => child !== null && child !== undefined);
  element.append(...present.map((child) => typeof child === "string" ? shown(child) : child));
  return element;
}

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** Sets text only where it differs: what is selected or read aloud stays undisturbed. */
export function say(element, text) {
  const written = shown(text ?? "");
  if (element.textContent !== written) element.textContent = written;
}

/** Shows `text`, or hides the element where there is none. */
export function tell(element, text) {
  say(element, text ?? "");
  element.hidden = !text;
}

/**
 * Makes the children of `parent` those of `items`, in order. The child of a known key is kept and
 * updated, so that focus, selection and what is open survive.
 */
export function keep(parent, items, key, make, update) {
  const known = parent.kept ?? (parent.kept = new Map());
  const seen = new Set();
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    if (seen.has(name)) continue;
    seen.add(name);
    let child = known.get(name);
    if (!child) {
      child = make(item);
      known.set(name, child);
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const [name, child] of known) {
    if (!seen.has(name)) {
      known.delete(name);
      child.remove();
    }
  }
}

/** Makes the options of a select those of [value, text] pairs; what is chosen stays if it can. */
export function options(select, pairs) {
  const written = JSON.stringify(pairs);
  if (select.written === written) return;
  select.written = written;
  const chosen = select.value;
  select.replaceChildren(...pairs.map(([value, text]) => el("option", { value }, text)));
  if (pairs.some(([value]) => value === chosen)) select.value = chosen;
}
