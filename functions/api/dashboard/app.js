// Sign-in with the key, and the view for each address.

import * as api from "./api.js";
import { field } from "./dialogs.js";
import { deliveryView } from "./delivery.js";
import { announce, button, el, trouble, whileBusy } from "./dom.js";
import { webhookView } from "./webhook.js";
import { webhooksView } from "./webhooks.js";

const main = document.getElementById("main");
const signOut = document.getElementById("sign-out");
const ROUTES = [
  [/^#\/webhooks\/([^/]+)\/deliveries\/([^/]+)$/, deliveryView],
  [/^#\/webhooks\/([^/]+)$/, webhookView],
  [/^#?\/?$/, webhooksView],
];

let leaving = new AbortController();

/** Show the view for the address. Pending work of the previous view is aborted. */
async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  if (!api.key.get()) return showSignIn();
  signOut.hidden = false;
  main.setAttribute("aria-busy", "true");
  try {
    const { title, element } = await view(signal);
    if (!signal.aborted) place(title, element);
  } catch (error) {
    if (signal.aborted) return undefined;
    if (error.status === 401) return leave("The key is no longer valid. Sign in with another.");
    place("Something is wrong", failure(error));
  }
  return undefined;
}

function view(signal) {
  for (const [pattern, make] of ROUTES) {
    const match = pattern.exec(location.hash);
    if (match) return make(...match.slice(1).map(decoded), signal);
  }
  throw new Error("There is no such page.");
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function place(title, element) {
  document.title = `${title} · SendComms Webhooks`;
  main.removeAttribute("aria-busy");
  main.replaceChildren(element);
  window.scrollTo(0, 0);
  (main.querySelector("h1") ?? main).focus();
}

function failure(error) {
  const request = error.requestId ? el("p", {}, "Request ", el("code", {}, error.requestId)) : null;
  return el("div", {},
    el("h1", { tabindex: "-1" }, "Something is wrong"),
    trouble(error.message, request),
    el("div", { class: "buttons" }, button("Try again", show), el("a", { href: "#/" }, "All webhooks")),
  );
}

function showSignIn(message) {
  signOut.hidden = true;
  const key = el("input", { type: "password", required: true, autocomplete: "off", spellcheck: "false", placeholder: "sc_live_…" });
  const refused = el("div", {}, message ? trouble(message) : null);
  const submit = el("button", { type: "submit", class: "primary" }, "Sign in");
  const form = el("form", { class: "sign-in", novalidate: true },
    el("h1", { tabindex: "-1" }, "Sign in"),
    el("p", {}, "See how your webhooks are doing, and mend what is not."),
    refused,
    field("key", "API key", key, { hint: "Kept in this tab only, until you sign out or close it." }),
    submit,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      api.key.set(key.value.trim());
      await whileBusy(submit, () => api.webhooksPage(undefined, 1));
    } catch (error) {
      api.key.forget();
      const said = error.status === 401 ? "This is not a valid key." : error.message;
      refused.replaceChildren(trouble(said));
      key.focus();
      return;
    }
    await show();
  });
  place("Sign in", form);
  key.focus();
}

function leave(message) {
  api.key.forget();
  leaving.abort();
  showSignIn(message);
}

signOut.addEventListener("click", () => {
  leave();
  announce("You are signed out.");
});
document.querySelector(".skip").addEventListener("click", (event) => {
  // As a normal link it would replace the view's address.
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", show);
show();
