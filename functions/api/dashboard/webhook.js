// One webhook: its last day, its actions, its replays and its log.

import * as api from "./api.js";
import { checkSection } from "./check.js";
import { announce, button, el, foreign, trouble, whileBusy } from "./dom.js";
import { ailment, dueAfterPause, exactly, healthPill } from "./format.js";
import { FIELDS } from "./fields.js";
import * as forms from "./forms.js";
import { logSection } from "./log.js";
import { replaySection } from "./replays.js";
import * as stats from "./stats.js";
import { timesChart, timesLegend } from "./times.js";
import { eventList, pathOf } from "./webhooks.js";

const STATS_PAGES = 10;

/** Return a webhook's page; `signal` aborts its pending work. */
export async function webhookView(id, signal) {
  const [shown, types] = await Promise.all([api.webhook(id, signal), api.eventTypes(signal)]);
  let webhook = shown;
  const head = el("section", { "aria-labelledby": "webhook" });
  const day = daySection(id, signal);
  const log = logSection(id, types, signal);
  const check = checkSection(id, signal);
  const replays = replaySection(id, signal, refresh);

  async function refresh() {
    webhook = await api.webhook(id, signal);
    drawHead();
    day.load();
    log.load();
  }

  function drawHead() {
    const focused = document.activeElement?.dataset.action;
    head.replaceChildren(...headOf(webhook, actions));
    if (focused) head.querySelector(`[data-action="${focused}"]`)?.focus();
  }

  function saved(changes, said) {
    webhook = changes;
    drawHead();
    announce(said);
  }

  const actions = {
    refresh: async (event) => {
      await whileBusy(event.currentTarget, refresh);
      announce("Up to date.");
    },
    test: () => forms.test(webhook, (delivery) => {
      location.hash = `${pathOf(webhook)}/deliveries/${delivery.id}`;
      announce(dueAfterPause(delivery, "The test event is on its way."));
    }),
    check: (event) => check.run(event.currentTarget),
    replay: () => forms.replay(webhook, replays.follow),
    edit: () => forms.edit(webhook, (changed) => saved(changed, "Saved.")),
    rotate: () => forms.rotate(webhook, () => announce("The secret is rotated.")),
    toggle: async (event) => {
      const active = !webhook.active;
      const said = active ? "Enabled. What waited is being sent." : "Disabled. Its events are kept.";
      saved(await whileBusy(event.currentTarget, () => api.changeWebhook(id, { active })), said);
    },
    remove: () => forms.remove(webhook, () => (location.hash = "#/")),
  };
  drawHead();
  day.load();
  log.load();
  replays.load();
  return {
    title: webhook.url,
    element: el("div", {},
      el("nav", { class: "crumbs", "aria-label": "Where you are" }, el("a", { href: "#/" }, "Webhooks")),
      head, check.element, replays.element, day.element, log.element,
    ),
  };
}

function headOf(webhook, actions) {
  const named = (name, label, attributes = {}) =>
    button(label, actions[name], { "data-action": name, ...attributes });
  const ailing = ailment(webhook);
  return [
    el("div", { class: "heading" },
      el("h1", { tabindex: "-1", id: "webhook", class: "url" }, foreign(webhook.url)),
      healthPill(webhook),
    ),
    webhook.description ? el("p", {}, foreign(webhook.description)) : null,
    ailing ? el("p", { class: `notice ${ailing.tone}` }, ailing.words) : null,
    el("div", { class: "buttons" },
      named("test", "Send test event", { class: "primary" }),
      named("check", "Check receiver"),
      named("replay", "Replay…"),
      named("edit", "Edit…"),
      named("rotate", "Rotate secret…"),
      named("toggle", webhook.active ? "Disable" : "Enable"),
      named("remove", "Delete…", { class: "danger-quiet" }),
      named("refresh", "Refresh", { class: "quiet" }),
    ),
    el("dl", { class: "facts" },
      fact("Events", eventList(webhook)),
      webhook.health.failing_since ? fact("Failing since", exactly(webhook.health.failing_since)) : null,
      webhook.health.not_before ? fact("Paused until", exactly(webhook.health.not_before)) : null,
      fact("Id", el("code", {}, webhook.id)),
      fact("Registered", exactly(webhook.created_at)),
      webhook.header_names ? fact("Headers of your own", el("code", {}, foreign(webhook.header_names.join(", ")))) : null,
      FIELDS.filter(({ name }) => name !== "description" && webhook[name])
        .map(({ name, label, kind }) => fact(label, shown(kind, webhook[name]))),
    ),
  ].filter(Boolean);
}

function shown(kind, value) {
  if (kind !== "pairs") return el("code", {}, foreign(value));
  const pairs = Object.entries(value).map(([key, text]) => el("li", {}, foreign(`${key}: ${text}`)));
  return el("ul", { class: "tags" }, pairs);
}

export function fact(name, ...value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

function daySection(id, signal) {
  const content = el("div", { "aria-busy": "true" }, el("p", { class: "hint" }, "Reading the log…"));
  const element = el("section", { "aria-labelledby": "day", class: "panel" }, el("h2", { id: "day" }, "The last day"), content);
  async function load() {
    try {
      const day = await stats.lastDay(id, STATS_PAGES, signal);
      content.replaceChildren(...dayContent(day));
      // On a narrow screen the charts overflow: show the latest hours first.
      for (const scroller of content.querySelectorAll(".scroll")) scroller.scrollLeft = scroller.scrollWidth;
    } catch (error) {
      if (error.name !== "AbortError") content.replaceChildren(trouble(error.message));
    }
    content.removeAttribute("aria-busy");
  }
  return { element, load };
}

function dayContent(day) {
  const words = el("p", {}, stats.inWords(day));
  if (!day.total) return [words];
  const times = day.medianMs === null
    ? []
    : [el("h3", {}, "Response times"), el("div", { class: "scroll" }, timesChart(day)), timesLegend()];
  return [
    stats.figures(day, { all: true }), words,
    el("div", { class: "scroll" }, stats.chart(day, { axis: true })), stats.legend(),
    times, stats.table(day),
  ].flat();
}
