// One delivery: its attempts on a time line, its payload, its headers, and a resend.

import * as api from "./api.js";
import { announce, button, copyButton, el, foreign, whileBusy } from "./dom.js";
import { dueAfterPause, duration, eventTime, exactly, outcome, span, statusMeaning, statusPill, succeeded, when } from "./format.js";
import { coloured } from "./json.js";
import { fact } from "./webhook.js";

const POLL_MS = 3000;
const SOON_MS = 700;
const WAITS = 25;

/** Return a delivery's page; `signal` aborts its pending work. */
export async function deliveryView(webhookId, deliveryId, signal) {
  const read = () => api.delivery(webhookId, deliveryId, signal);
  const [webhook, first] = await Promise.all([api.webhook(webhookId, signal), read()]);
  let delivery = first;
  const head = el("div", { class: "stack" });
  const line = el("section", { class: "panel", "aria-labelledby": "attempts" });
  const sent = el("section", { class: "panel", "aria-labelledby": "headers" });
  const resend = button("Resend", () => whileBusy(resend, sendAgain), { class: "primary" });

  function draw() {
    head.replaceChildren(...headOf(delivery));
    line.replaceChildren(el("h2", { id: "attempts" }, "Attempts"), timeline(delivery));
    sent.replaceChildren(...headersOf(webhook, delivery));
  }

  async function update() {
    const found = await read();
    if (JSON.stringify(found) === JSON.stringify(delivery)) return false;
    delivery = found;
    draw();
    return true;
  }

  async function sendAgain() {
    const before = delivery.attempt_count;
    const accepted = await api.resend(webhookId, deliveryId);
    for (let left = WAITS; delivery.attempt_count === before && !accepted.not_before && left; left--) {
      await api.pause(SOON_MS, signal);
      await update();
    }
    const last = delivery.attempts.at(-1);
    const made = delivery.attempt_count > before;
    announce(made ? `Attempt ${last.number}: ${outcome(last)}.` : dueAfterPause(accepted, "The attempt is on its way."));
  }

  async function watch() {
    while (["pending", "retrying"].includes(delivery.status)) {
      await api.pause(POLL_MS, signal);
      if (document.visibilityState !== "visible" || resend.disabled) continue;
      if (await update()) announce(`The delivery is ${delivery.status}.`);
    }
  }

  draw();
  watch().catch((error) => error.name === "AbortError" || announce(error.message));
  const back = `#/webhooks/${encodeURIComponent(webhookId)}`;
  return {
    title: `${delivery.event}, ${delivery.status}`,
    element: el("div", {},
      el("nav", { class: "crumbs", "aria-label": "Where you are" },
        el("a", { href: "#/" }, "Webhooks"), el("a", { href: back, class: "clamped", title: webhook.url }, foreign(webhook.url))),
      el("div", { class: "heading" }, el("h1", { tabindex: "-1" }, delivery.event), resend),
      head, line, payloadSection(delivery), sent,
    ),
  };
}

function headOf(delivery) {
  return [
    el("p", { class: "state" }, statusPill(delivery),
      delivery.test ? el("span", { class: "badge" }, "test") : null,
      el("span", {}, statusMeaning(delivery)),
      delivery.reason ? el("span", {}, "Reason: ", foreign(delivery.reason.replaceAll("_", " ")), ".") : null),
    el("dl", { class: "facts" },
      fact("Happened", exactly(new Date(eventTime(delivery)).toISOString())),
      fact("Accepted", exactly(delivery.created_at)),
      fact("Transaction", el("code", {}, foreign(delivery.transaction_id ?? "–"))),
      fact("Event id", el("code", {}, foreign(delivery.event_id))),
      fact("Delivery id", el("code", {}, delivery.id)),
    ),
  ];
}

function timeline(delivery) {
  const items = delivery.attempts.map((attempt, at, all) => attemptItem(attempt, all[at - 1]));
  if (delivery.next_attempt_at && ["pending", "retrying"].includes(delivery.status)) {
    items.push(el("li", { class: "due" },
      el("p", { class: "attempt-head" }, el("strong", {}, "Next attempt"), when(delivery.next_attempt_at)),
      el("p", { class: "hint" }, "Due ", exactly(delivery.next_attempt_at))));
  }
  if (!items.length) return el("p", { class: "hint" }, "None yet.");
  return el("ol", { class: "timeline" }, items);
}

function attemptItem(attempt, before) {
  const good = succeeded(attempt);
  const kinds = [
    attempt.manual && "manual",
    attempt.probe && "probe",
    attempt.signed_with && `${attempt.signed_with} secret`,
    attempt.requests && `${attempt.requests} requests`,
  ].filter(Boolean);
  return el("li", { class: good ? "good" : "bad" },
    el("p", { class: "attempt-head" },
      el("strong", {}, `Attempt ${attempt.number}`),
      el("span", { class: `pill ${good ? "good" : "bad"}` }, good ? "Succeeded" : "Failed"),
      el("span", {}, outcome(attempt)),
      kinds.map((kind) => el("span", { class: "badge" }, kind)),
    ),
    el("p", { class: "hint" }, exactly(attempt.started_at),
      before ? `, ${span(before.started_at, attempt.started_at)} after the one before` : null,
      `, took ${duration(attempt.duration_ms)}`),
    attempt.response_body ? responseBody(attempt) : null,
  );
}

function responseBody(attempt) {
  return el("details", {}, el("summary", {}, "Your server's response"),
    el("pre", { tabindex: "0", class: "foreign", "aria-label": `Response to attempt ${attempt.number}` }, attempt.response_body));
}

function payloadSection(delivery) {
  const pretty = coloured(JSON.stringify(delivery.payload, null, 2));
  const shown = el("pre", { tabindex: "0", class: "foreign", "aria-label": "Payload" }, pretty);
  const exact = el("input", { type: "checkbox" });
  exact.addEventListener("change", () => {
    shown.replaceChildren(exact.checked ? delivery.body : pretty.cloneNode(true));
    shown.classList.toggle("wrapped", exact.checked);
  });
  // The copied text is the signed one, to the byte.
  return el("section", { class: "panel", "aria-labelledby": "payload" },
    el("div", { class: "panel-head" }, el("h2", { id: "payload" }, "Payload"),
      el("label", { class: "check" }, exact, "The exact bytes"),
      copyButton(delivery.body, "Payload")),
    shown,
  );
}

function headersOf(webhook, delivery) {
  const last = delivery.attempts.at(-1);
  const title = el("h2", { id: "headers" }, "Headers");
  if (!last) return [title, el("p", { class: "hint" }, "Shown once an attempt was made.")];
  const secret = el("em", {}, "made with your secret, not kept");
  const headers = [
    ["Content-Type", "application/json"],
    ["User-Agent", "SendComms-Webhooks/1.0"],
    ["Accept", "*/*"],
    ["X-SendComms-Signature", "sha256=", secret],
    ["X-SendComms-Event", delivery.event],
    ["X-SendComms-Delivery", delivery.id],
    ["X-SendComms-Attempt", String(last.number)],
    ["webhook-id", delivery.event_id],
    ["webhook-timestamp", String(Math.floor(Date.parse(last.started_at) / 1000))],
    ["webhook-signature", "v1,", secret.cloneNode(true)],
    ...(webhook.header_names ?? []).map((name) => [name, el("em", {}, "yours, never shown")]),
  ];
  return [
    title,
    el("p", { class: "hint" }, `As attempt ${last.number} carried them.`),
    el("div", { class: "scroll" },
      el("table", { class: "headers" }, el("tbody", {}, headers.map(([name, ...value]) =>
        el("tr", {}, el("th", { scope: "row" }, foreign(name)), el("td", {}, value.map((part) => (typeof part === "string" ? foreign(part) : part)))))))),
  ];
}
