// Making elements. Text only ever becomes a text node, so that nothing needs to be escaped, and
// nothing that a receiver or an owner wrote can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element. Attributes: false and null are left out, true is bare, `on` has listeners. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Return an SVG element, made in the same way. */
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

/** Return a button. What goes wrong in its work is said, unless the page was left meanwhile. */
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

/** Return text that others wrote, kept from turning the writing direction of what is around it. */
export function foreign(text, attributes = {}) {
  return el("bdi", attributes, text);
}

/** Run something slow for a button, which is disabled until it is done. */
export async function whileBusy(pressed, work) {
  const focused = document.activeElement === pressed;
  pressed.disabled = true;
  pressed.setAttribute("aria-busy", "true");
  try {
    return await work();
  } finally {
    pressed.disabled = false;
    pressed.removeAttribute("aria-busy");
    // What is disabled loses the focus, and with it whoever works by keyboard.
    if (focused && document.activeElement === document.body) pressed.focus();
  }
}

/** Return a button that copies a text, and says that it has. */
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

/** Say something to everybody: it is shown for a while, and read out. */
export function announce(message) {
  const place = document.getElementById("announcer");
  // A dialog makes all the rest of the page inert, this place too, unless it is in the dialog.
  (document.querySelector("dialog[open]") ?? document.body).append(place);
  clearTimeout(fading);
  place.textContent = message;
  fading = setTimeout(() => (place.textContent = ""), 8000);
}

/** Return a box that tells of trouble, read out at once. */
export function trouble(message, ...more) {
  return el("div", { class: "notice bad", role: "alert" }, el("p", {}, message), more);
}
