// All webhooks of the account, with their health at a glance.

import * as api from "./api.js";
import { button, el, foreign, trouble, whileBusy } from "./dom.js";
import { ailment, healthPill } from "./format.js";
import { FIELDS } from "./fields.js";
import * as forms from "./forms.js";
import * as stats from "./stats.js";

const PAGE = 20;
const STATS_PAGES = 2;
const AT_ONCE = 4;

export const pathOf = (webhook) => `#/webhooks/${encodeURIComponent(webhook.id)}`;

/** Return the list; `signal` aborts its pending work. */
export async function webhooksView(signal) {
  const list = el("ul", { class: "cards" });
  const more = el("div", { class: "more" });
  const register = () => forms.register((webhook) => (location.hash = pathOf(webhook)));
  const first = await api.webhooksPage(undefined, PAGE, signal);
  const onSlot = slots(AT_ONCE);

  function add(page) {
    const cards = page.data.map((webhook) => card(webhook, onSlot, signal));
    list.append(...cards);
    const { next_cursor: cursor } = page.pagination;
    const next = async (event) => {
      const fetched = await whileBusy(event.currentTarget, () => api.webhooksPage(cursor, PAGE, signal));
      const [firstNew] = add(fetched);
      firstNew?.querySelector("a").focus();
    };
    more.replaceChildren(...(cursor ? [button("Show more", next)] : []));
    return cards;
  }
  add(first);
  const content = first.data.length ? [list, more] : empty(register);
  return {
    title: "Webhooks",
    element: el("div", {},
      el("div", { class: "heading" },
        el("h1", { tabindex: "-1" }, "Webhooks"),
        button("Register a webhook", register, { class: "primary" }),
      ),
      content,
    ),
  };
}

function empty(register) {
  return el("div", { class: "empty" },
    el("h2", {}, "No webhooks yet"),
    el("p", {}, "A webhook is an address of yours that hears of each email: sent, delivered, bounced, complained, opened, clicked."),
    button("Register your first", register, { class: "primary" }),
  );
}

function card(webhook, onSlot, signal) {
  const day = el("div", { class: "day", "aria-busy": "true" }, el("p", { class: "hint" }, "Reading its last day…"));
  onSlot(() => stats.lastDay(webhook.id, STATS_PAGES, signal)).then(
    (counts) => day.replaceChildren(...lastDay(counts)),
    (error) => error.name === "AbortError" || day.replaceChildren(trouble(error.message)),
  ).finally(() => day.removeAttribute("aria-busy"));
  const ailing = ailment(webhook);
  return el("li", { class: "card" },
    el("div", { class: "card-head" },
      el("h2", {}, el("a", { href: pathOf(webhook), class: "clamped", title: webhook.url }, foreign(webhook.url))),
      healthPill(webhook),
    ),
    webhook.description ? el("p", {}, foreign(webhook.description)) : null,
    FIELDS.filter(({ name, listed }) => listed && webhook[name])
      .map(({ name, label }) => el("p", { class: "hint" }, `${label}: `, foreign(webhook[name]))),
    ailing ? el("p", { class: `ailment ${ailing.tone}` }, ailing.words) : null,
    eventList(webhook),
    day,
  );
}

/** Return the event types that a webhook is subscribed to. */
export function eventList(webhook) {
  const names = webhook.events.includes("*") ? ["all events of mail"] : webhook.events;
  return el("ul", { class: "tags", "aria-label": "Events" }, names.map((name) => el("li", {}, name)));
}

function lastDay(day) {
  if (!day.total) return [el("p", { class: "hint" }, stats.inWords(day))];
  return [
    stats.figures(day),
    el("div", { class: "spark" }, stats.chart(day), el("p", { class: "hint" }, spanOf(day))),
  ];
}

const spanOf = (day) => (day.complete ? "Last 24 hours" : `The latest ${day.total} deliveries`);

/** Return a function that runs tasks, at most this many in parallel. */
function slots(most) {
  const waiting = [];
  let running = 0;
  const next = () => {
    if (running >= most || !waiting.length) return;
    running += 1;
    const { work, resolve, reject } = waiting.shift();
    work().then(resolve, reject).finally(() => {
      running -= 1;
      next();
    });
  };
  return (work) => new Promise((resolve, reject) => {
    waiting.push({ work, resolve, reject });
    next();
  });
}
