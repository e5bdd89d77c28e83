// Dialogs: forms with errors next to the fields, a question, and the secret that is shown once.

import { button, copyButton, el, trouble, whileBusy } from "./dom.js";

let named = 0;
const newId = () => `id-${++named}`;

/** Open a dialog; on closing it leaves the page, and the focus returns to its former place. */
function open(title, content, { sticky = false, wide = false } = {}) {
  const id = newId();
  const opener = document.activeElement;
  const dialog = el("dialog", { "aria-labelledby": id, class: wide && "wide" }, el("h2", { id }, title), content);
  dialog.addEventListener("cancel", (event) => sticky && event.preventDefault());
  dialog.addEventListener("close", () => {
    const toast = dialog.querySelector("#announcer");
    if (toast) document.body.append(toast);
    dialog.remove();
    // The element that opened the dialog may have been replaced since.
    if (!opener?.isConnected) document.querySelector("main h1")?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Return a field: a label, a hint, a place for its error, and the control between them.
 *
 * `name` is the field's name in the API; errors of `name[1]` or `name.x` belong to it too.
 */
export function field(name, label, control, { hint, optional = false } = {}) {
  const id = newId();
  control.id = id;
  control.name = name;
  control.setAttribute("aria-describedby", [hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(" "));
  return el("div", { class: "field", "data-field": name },
    el("label", { for: id }, label, optional && el("span", { class: "optional" }, " optional")),
    control,
    hint ? el("p", { class: "hint", id: `${id}-hint` }, hint) : null,
    el("p", { class: "error", id: `${id}-error` }),
  );
}

/** Return a group of controls that form one field of the API. */
export function group(name, label, content, { hint } = {}) {
  const id = newId();
  return el("fieldset", { class: "field", "data-field": name, "aria-describedby": `${id}-hint ${id}-error` },
    el("legend", {}, label),
    hint ? el("p", { class: "hint", id: `${id}-hint` }, hint) : null,
    content,
    el("p", { class: "error", id: `${id}-error` }),
  );
}

/** Return a select of [value, text] pairs. */
export function select(options, chosen) {
  return el("select", {}, options.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
}

/**
 * Ask for values in a form.
 *
 * `send` makes the call. If it throws an ApiError, the error is shown next to the fields it names;
 * otherwise its result goes to `done` once the dialog is closed.
 */
export function formDialog({ title, intro, fields, action, dangerous = false, wide, send, done }) {
  const refusal = el("div");
  const submit = el("button", { type: "submit", class: dangerous ? "danger" : "primary" }, action);
  const form = el("form", { novalidate: true },
    intro ? el("p", {}, intro) : null,
    refusal,
    fields,
    el("div", { class: "actions" }, button("Cancel", () => dialog.close()), submit),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.disabled) return;
    clearErrors(form);
    refusal.replaceChildren();
    try {
      const result = await whileBusy(submit, send);
      dialog.close();
      await done(result);
    } catch (error) {
      if (!dialog.open) throw error;
      refusal.replaceChildren(...showErrors(form, error));
      (form.querySelector("[aria-invalid=true]") ?? submit).focus();
    }
  });
  const dialog = open(title, form, { wide });
  return dialog;
}

/** Remove the errors that a form shows. */
export function clearErrors(form) {
  for (const place of form.querySelectorAll(".error")) place.replaceChildren();
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
}

/** Put an error's details next to their fields; return a box with the remaining ones. */
export function showErrors(form, error) {
  const elsewhere = [];
  for (const { field: name, message } of error.details ?? []) {
    const root = name.split(/[.[]/, 1)[0];
    const place = form.querySelector(`[data-field="${CSS.escape(root)}"]`);
    if (!place) {
      elsewhere.push(`${name}: ${message}`);
      continue;
    }
    const named = name === root ? message : `${name}: ${message}`;
    place.querySelector(".error").append(el("span", {}, named));
    const controls = place.matches("fieldset") ? place.querySelectorAll("input") : place.querySelectorAll("input, select");
    for (const control of controls) control.setAttribute("aria-invalid", "true");
  }
  const known = (error.details?.length ?? 0) > elsewhere.length;
  const message = known ? "Correct the fields that are marked." : error.message;
  const list = elsewhere.length ? el("ul", {}, elsewhere.map((text) => el("li", {}, text))) : null;
  return [trouble(message, list)];
}

/** Show a secret, only once: the dialog stays open until the user confirms that it is saved. */
export function secretDialog(title, secret, more, done) {
  // In several lines, so that all of it is visible: a clipped line looks complete.
  const shown = el("textarea", { readonly: true, rows: 2, class: "secret", "aria-label": "Secret", autocomplete: "off", spellcheck: "false" }, secret);
  shown.addEventListener("focus", () => shown.select());
  const dialog = open(title, [
    el("p", {}, "Save the secret now: it is shown only this once. Your server verifies each delivery with it."),
    el("div", { class: "secret-row" }, shown, copyButton(secret, "Secret")),
    ...more.map((text) => el("p", { class: "hint" }, text)),
    el("div", { class: "actions" }, button("I have saved it", () => dialog.close(), { class: "primary" })),
  ], { sticky: true });
  dialog.addEventListener("close", () => {
    shown.value = "";
    done();
  });
  shown.focus();
}
