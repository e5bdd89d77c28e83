// Builders of elements. Text always becomes a text node: nothing needs escaping, and no text of a
// receiver or an owner can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element. Attributes: false and null are left out, true is bare, `on` has listeners. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Return an SVG element, built in the same way. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  element.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return element;
}

/** Return a button. A failure of its work is announced, unless the user has left the page. */
export function button(label, work, attributes = {}) {
  const click = async (event) => {
    try {
      await work(event);
    } catch (error) {
      if (error.name !== "AbortError") announce(error.message);
    }
  };
  return el("button", { type: "button", ...attributes, on: { click } }, label);
}

/** Return a foreign text, isolated so that it cannot change the writing direction around it. */
export function foreign(text, attributes = {}) {
  return el("bdi", attributes, text);
}

/** Run a button's slow work; the button is disabled until it is done. */
export async function whileBusy(pressed, work) {
  const focused = document.activeElement === pressed;
  pressed.disabled = true;
  pressed.setAttribute("aria-busy", "true");
  try {
    return await work();
  } finally {
    pressed.disabled = false;
    pressed.removeAttribute("aria-busy");
    // A disabled button loses the focus, which keyboard users need.
    if (focused && document.activeElement === document.body) pressed.focus();
  }
}

/** Return a button that copies a text and confirms it. */
export function copyButton(text, what) {
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
      announce(`${what} copied.`);
    } catch {
      announce(`Your browser does not let this page copy. Select the ${what.toLowerCase()} instead.`);
    }
  });
  copy.setAttribute("aria-label", `Copy the ${what.toLowerCase()}`);
  return copy;
}

let fading;

/** Announce a text: it is shown for a while, and read out. */
export function announce(message) {
  const place = document.getElementById("announcer");
  // A dialog makes the rest of the page inert, the announcer too, unless it is in the dialog.
  (document.querySelector("dialog[open]") ?? document.body).append(place);
  clearTimeout(fading);
  place.textContent = message;
  fading = setTimeout(() => (place.textContent = ""), 8000);
}

/** Return a box with a failure, read out at once. */
export function trouble(message, ...more) {
  return el("div", { class: "notice bad", role: "alert" }, el("p", {}, message), more);
}
