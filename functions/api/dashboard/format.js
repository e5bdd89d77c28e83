// Words for values: times, numbers, states. All are in the page's language, times in the reader's
// time zone.

import { el } from "./dom.js";

export const DAY_MS = 86_400_000;

const absolute = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const hourOfDay = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const decimal = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export const number = (value) => decimal.format(value);
export const clock = (ms) => hourOfDay.format(ms);
export const fullTime = (time) => absolute.format(new Date(time));
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** Return the time from now until another time, for example "in 5 minutes". */
export function distance(time, now = Date.now()) {
  const seconds = (new Date(time).getTime() - now) / 1000;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
  return relative.format(Math.trunc(seconds / size), unit);
}

/** Return the time between two times, for example "5 minutes". */
export function span(from, to) {
  const seconds = Math.max(0, (new Date(to) - new Date(from)) / 1000);
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ["second", 1];
  return plural(Math.round(seconds / size), unit);
}

/** Return a time as an element: its distance from now, with the exact time as a title. */
export function when(time) {
  return el("time", { datetime: time, title: fullTime(time) }, distance(time));
}

/** Return a time as an element: the exact time, with its distance from now as a title. */
export function exactly(time) {
  return el("time", { datetime: time, title: distance(time) }, fullTime(time));
}

/** Return when a requested send is made if the webhook is paused; otherwise the other text. */
export function dueAfterPause(made, otherwise) {
  return made.not_before ? `Your server asked for a pause: this is sent after it, ${fullTime(made.not_before)}.` : otherwise;
}

export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  return ms < 1000 ? `${number(ms)} ms` : `${number(ms / 1000)} s`;
}

/** Return a share in percent; 100 only if nothing is missing. */
export function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  return `${number(part < whole ? Math.min(share, 99.9) : 100)} %`;
}

/** Return the time of a delivery's event in Unix milliseconds, from its id (UUIDv7). */
export function eventTime(delivery) {
  return parseInt(delivery.id.replaceAll("-", "").slice(0, 12), 16);
}

const STATUSES = {
  pending: ["Pending", "busy", "It is about to be sent."],
  retrying: ["Retrying", "warn", "An attempt failed; more follow by the schedule."],
  waiting: ["Waiting", "warn", "It is kept until its webhook is enabled and your server responds."],
  succeeded: ["Succeeded", "good", "Your server took it."],
  exhausted: ["Exhausted", "bad", "All attempts of the schedule failed. Resend or replay it."],
  cancelled: ["Cancelled", "off", "Its webhook was deleted."],
};
export const DELIVERY_STATUSES = Object.keys(STATUSES);

export function statusName(status) {
  return STATUSES[status]?.[0] ?? status;
}

export function statusPill(delivery) {
  const [name, tone] = STATUSES[delivery.status] ?? [delivery.status, "off"];
  return el("span", { class: `pill ${tone}`, title: statusMeaning(delivery) }, name);
}

const REASONS = {
  retry_after: "It is sent after the pause that your server asked for.",
  unsubscribed: "The webhook is no longer subscribed to its type.",
  recipient_erased: "Its payload was erased with its recipient.",
};

/** Return the meaning of a delivery's status in a sentence. */
export function statusMeaning({ status, reason }) {
  return REASONS[reason] ?? STATUSES[status]?.[2] ?? "";
}

const HEALTH = {
  healthy: ["Healthy", "good"],
  failing: ["Failing", "warn"],
  down: ["Down", "bad"],
  recovering: ["Recovering", "busy"],
};

export function healthPill(webhook) {
  const [name, tone] = webhook.active
    ? (HEALTH[webhook.health.state] ?? [webhook.health.state, "off"])
    : ["Disabled", "off"];
  return el("span", { class: `pill ${tone}` }, name);
}

const DISABLED = {
  gone: "Your server returned 410 Gone, so the webhook was disabled.",
  failing: "Nothing arrived for five days, so the webhook was disabled.",
};

/** Return a webhook's problem in a sentence, with its severity; null if there is none. */
export function ailment(webhook) {
  const words = inWords(webhook);
  if (!words) return null;
  const bad = !webhook.active || webhook.health.state === "down";
  const tone = bad ? "bad" : webhook.health.state === "recovering" ? "busy" : "warn";
  return { words, tone };
}

function inWords(webhook) {
  const { state, consecutive_failures: failures, failing_since: since } = webhook.health;
  if (!webhook.active) {
    const why = DISABLED[webhook.disabled_reason] ?? "The webhook is disabled.";
    return `${why} Its events are kept, and sent when you enable it.`;
  }
  if (webhook.health.not_before && state !== "down") {
    return "Your server asked for a pause. Events are kept, and sent when it is over.";
  }
  const first = since ? distance(since) : "just now";
  const tries = failures === 1
    ? `The last attempt failed, ${first}.`
    : `The last ${number(failures)} attempts failed, the first ${first}.`;
  if (state === "down") return `${tries} Events are kept until your server responds again.`;
  if (state === "failing") return tries;
  if (state === "recovering") return "Your server is back. What waited for it is being sent.";
  return null;
}

const ATTEMPT_ERRORS = {
  http_status: "The response was not a success",
  timeout: "No response within 5 seconds",
  connection: "The connection failed or was cut",
  tls: "The certificate or TLS handshake was refused",
  dns: "The host name was not found",
  blocked_address: "The address is not public",
  response_too_large: "The response's headers were too large",
};

/** Return an attempt's result in a few words. */
export function outcome(attempt) {
  const code = attempt.status_code ? `HTTP ${attempt.status_code}` : null;
  if (!attempt.error) return code ?? "Succeeded";
  return code ?? ATTEMPT_ERRORS[attempt.error] ?? attempt.error;
}

export const succeeded = (attempt) => !attempt.error;
