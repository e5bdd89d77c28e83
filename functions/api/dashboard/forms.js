// The owner's forms: a webhook, a rotation, a test event, a replay.

import * as api from "./api.js";
import { announce, button, el, foreign } from "./dom.js";
import { field, formDialog, group, secretDialog, select } from "./dialogs.js";
import { FIELDS } from "./fields.js";
import { DAY_MS, DELIVERY_STATUSES, ZONE, fullTime, statusName } from "./format.js";

const ALL = "*";
const REPLAYABLE = ["exhausted", "waiting", "retrying", "succeeded"];
const HOUR_SECONDS = 3600;
const OVERLAPS = [
  [0, "None: the old secret has leaked"],
  [HOUR_SECONDS, "An hour"],
  [24 * HOUR_SECONDS, "A day"],
  [7 * 24 * HOUR_SECONDS, "A week"],
];

/** Register a webhook; show its secret before `done` gets the webhook. */
export async function register(done) {
  const form = webhookFields(await api.eventTypes(), { url: "", events: [ALL] });
  const secret = el("input", { type: "text", autocomplete: "off", spellcheck: "false" });
  const headers = headerRows();
  const send = api.registration();
  formDialog({
    title: "Register a webhook",
    wide: true,
    fields: [
      form.fields,
      el("details", {}, el("summary", {}, "More: a secret and headers of your own"),
        field("secret", "Secret", secret, { optional: true, hint: "16 to 256 characters. Left empty, one is made for you, which is safer." }),
        group("headers", "Headers of your own", headers.element, { hint: "Sent with each delivery. The values are never shown again." }),
      ),
    ],
    action: "Register",
    send: () => {
      const body = withoutNull(form.values());
      if (secret.value) body.secret = secret.value;
      if (headers.any()) body.headers = headers.values();
      return inWords(send(body), body.events);
    },
    done: (webhook) => secretDialog("Your webhook's secret", webhook.secret, webhook.warnings ?? [], () => done(webhook)),
  });
}

/** Edit a webhook. */
export async function edit(webhook, done) {
  const form = webhookFields(await api.eventTypes(), webhook);
  const headers = headerRows();
  const replace = el("input", { type: "checkbox" });
  headers.element.hidden = true;
  replace.addEventListener("change", () => (headers.element.hidden = !replace.checked));
  const names = webhook.header_names?.join(", ") ?? "none";
  formDialog({
    title: "Edit the webhook",
    wide: true,
    fields: [
      form.fields,
      group("headers", "Headers of your own", [
        el("p", {}, `Now: ${names}.`),
        el("label", { class: "check" }, replace, "Replace them, or remove them all"),
        headers.element,
      ], { hint: "Their values are never shown again." }),
    ],
    action: "Save",
    send: () => {
      const changes = changed(form.values(), webhook);
      if (replace.checked) changes.headers = headers.any() ? headers.values() : null;
      return Object.keys(changes).length ? inWords(api.changeWebhook(webhook.id, changes), changes.events) : webhook;
    },
    done,
  });
}

/** Wait for the API; reword its advice on a missing list of events, which is for JSON clients. */
async function inWords(sent, events) {
  try {
    return await sent;
  } catch (error) {
    for (const detail of error.details ?? []) {
      if (detail.field === "events" && !events?.length) detail.message = "Choose at least one event, or all of them.";
    }
    throw error;
  }
}

function changed(values, webhook) {
  const differs = ([name, value]) => JSON.stringify(value) !== JSON.stringify(webhook[name] ?? null);
  return Object.fromEntries(Object.entries(values).filter(differs));
}

function webhookFields(types, webhook) {
  const url = el("input", { type: "url", value: webhook.url, required: true, autocomplete: "off", spellcheck: "false", placeholder: "https://your-server.com/webhooks/email" });
  const others = FIELDS.map((each) => ({ name: each.name, ...control(each, webhook[each.name]) }));
  const all = el("input", { type: "checkbox", checked: webhook.events.includes(ALL) });
  const boxes = types.map(({ type, description: text }) => {
    const box = el("input", { type: "checkbox", value: type, checked: webhook.events.includes(type) });
    return { box, label: el("label", { class: "check" }, box, el("span", {}, el("code", {}, type), el("small", {}, text))) };
  });
  const single = el("div", { class: "choices" }, boxes.map(({ label }) => label));
  const sync = () => (single.hidden = all.checked);
  all.addEventListener("change", sync);
  sync();
  const fields = [
    field("url", "URL", url, { hint: "https, on a public host. Events are sent here." }),
    group("events", "Events", [
      el("label", { class: "check" }, all, el("span", {}, "All events of mail, those to come included")),
      single,
    ]),
    others.map(({ element }) => element),
  ];
  const chosen = () => boxes.filter(({ box }) => box.checked).map(({ box }) => box.value);
  const values = () => ({
    url: url.value.trim(),
    events: all.checked ? [ALL] : chosen(),
    ...Object.fromEntries(others.map(({ name, value }) => [name, value()])),
  });
  return { fields, values };
}

/** Return a control for a field's kind: its element, and a function for its value (null: none). */
function control({ name, kind, label, hint, maxLength }, shown) {
  if (kind === "pairs") {
    const rows = pairRows([`${label}: key`, `${label}: value`], ["team", "billing"], "Add a pair", shown);
    const element = group(name, label, rows.element, { hint });
    return { element, value: () => (rows.any() ? rows.values() : null) };
  }
  const input = el("input", { type: "text", value: shown ?? "", maxlength: maxLength, autocomplete: "off" });
  return { element: field(name, label, input, { optional: true, hint }), value: () => input.value || null };
}

function headerRows() {
  return pairRows(["Header's name", "Header's value"], ["X-Team", "billing"], "Add a header");
}

function pairRows(labels, placeholders, more, shown = {}) {
  const rows = el("div", { class: "rows" });
  const add = (pair = ["", ""]) => {
    const [name, value] = labels.map((label, index) =>
      el("input", { type: "text", "aria-label": label, placeholder: placeholders[index], value: pair[index], autocomplete: "off", spellcheck: "false" }));
    const row = el("div", { class: "row" }, name, value, button("Remove", () => row.remove(), { class: "quiet" }));
    rows.append(row);
    return name;
  };
  const before = Object.entries(shown);
  if (before.length) before.forEach((pair) => add(pair));
  else add();
  const element = el("div", {}, rows, button(more, () => add().focus(), { class: "quiet" }));
  const pairs = () => Array.from(rows.children, (row) => Array.from(row.querySelectorAll("input"), (input) => input.value));
  const given = () => pairs().filter(([name, value]) => name || value);
  const values = () => Object.fromEntries(given());
  return { element, values, any: () => given().length > 0 };
}

/** Rotate a webhook's secret; show the new one before `done`. */
export function rotate(webhook, done) {
  const overlap = select(OVERLAPS, 24 * HOUR_SECONDS);
  const secret = el("input", { type: "text", autocomplete: "off", spellcheck: "false" });
  const force = el("input", { type: "checkbox" });
  const forced = group("force", "An overlap is running",
    el("label", { class: "check" }, force, "Rotate all the same: the old secret ends at once"),
    { hint: "A server that still has it refuses deliveries until you give it the new one." });
  forced.hidden = true;
  const send = api.rotation(webhook.id);
  formDialog({
    title: "Rotate the secret",
    intro: "You get a new secret. While both count, no delivery fails, whenever your server swaps.",
    fields: [
      field("overlap_seconds", "The old secret counts for", overlap),
      field("secret", "New secret", secret, { optional: true, hint: "Left empty, one is made for you." }),
      forced,
    ],
    action: "Rotate",
    send: async () => {
      const body = { overlap_seconds: Number(overlap.value), ...(secret.value && { secret: secret.value }) };
      try {
        return await send(force.checked ? { ...body, force: true } : body);
      } catch (error) {
        if (error.code === "overlap_running") forced.hidden = false;
        throw error;
      }
    },
    done: (rotated) => {
      const until = rotated.previous_secret_expires_at;
      const more = until ? `The old secret counts until ${fullTime(until)}.` : "The old secret no longer counts.";
      secretDialog("The new secret", rotated.secret, [more, ...(rotated.warnings ?? [])], done);
    },
  });
}

/** Send a sample event; `done` gets its delivery. */
export async function test(webhook, done) {
  const types = await api.eventTypes();
  const type = select(types.map((each) => [each.type, each.type]), types[0].type);
  const send = api.testing(webhook.id);
  formDialog({
    title: "Send a test event",
    intro: "A sample is delivered, retried and logged as any other event. Your server cannot tell the difference.",
    fields: [field("event", "Event", type, { hint: "Of any type, subscribed to or not." })],
    action: "Send",
    send: () => send({ event: type.value }),
    done,
  });
}

/** Start a replay; `done` gets it. */
export function replay(webhook, done) {
  const since = timeInput(Date.now() - DAY_MS);
  const until = timeInput(null);
  const status = select([["", "All that has not arrived"], ...REPLAYABLE.map((name) => [name, statusName(name)])], "");
  const send = api.replaying(webhook.id);
  formDialog({
    title: "Replay deliveries",
    intro: "Deliveries are sent again, oldest first and a few a second, each with the same ids and bytes as before.",
    fields: [
      field("since", "Events since", since, { hint: `Your time: ${ZONE}.` }),
      field("until", "Events until", until, { optional: true, hint: "Left empty, up to now." }),
      field("status", "Which", status),
    ],
    action: "Start",
    send: () => send(withoutEmpty({ since: timeOf(since), until: timeOf(until), status: status.value })),
    done,
  });
}

/** Ask for confirmation, and delete a webhook. */
export function remove(webhook, done) {
  const sure = el("input", { type: "checkbox" });
  const deletion = () => {
    if (sure.checked) return api.deleteWebhook(webhook.id);
    const message = "Tick the box first.";
    throw Object.assign(new Error(message), { details: [{ field: "sure", message }] });
  };
  formDialog({
    title: "Delete the webhook?",
    intro: "It gets no more events. Deliveries that are under way are cancelled, and its log can no longer be read. This cannot be undone.",
    fields: [el("p", { class: "clamped", title: webhook.url }, foreign(webhook.url)), group("sure", "To be sure", el("label", { class: "check" }, sure, "Delete this webhook for good"))],
    action: "Delete",
    dangerous: true,
    send: deletion,
    done: () => {
      announce("The webhook is deleted.");
      done();
    },
  });
}

/** Return the fields that filter the log; `apply` gets the filter for the API. */
export function filterForm(types, filter, apply) {
  const any = [["", "Any"]];
  const status = select([...any, ...DELIVERY_STATUSES.map((name) => [name, statusName(name)])], filter.status ?? "");
  const event = select([...any, ...types.map(({ type }) => [type, type])], filter.event ?? "");
  const since = timeInput(filter.since);
  const until = timeInput(filter.until);
  const show = () => apply(withoutEmpty({ status: status.value, event: event.value, since: timeOf(since), until: timeOf(until) }));
  const form = el("form", { class: "filters", "aria-label": "Filter the log", novalidate: true },
    field("status", "Status", status),
    field("event", "Event", event),
    field("since", "Since", since),
    field("until", "Until", until),
    button("Clear", () => {
      for (const control of [status, event, since, until]) control.value = "";
      show();
    }, { class: "quiet" }),
  );
  form.addEventListener("change", show);
  form.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    show();
  });
  return form;
}

/** Return an input of a local time; `time` is Unix milliseconds, an RFC 3339 text, or empty. */
function timeInput(time) {
  const input = el("input", { type: "datetime-local", step: 1 });
  if (time) {
    const local = new Date(time);
    local.setMinutes(local.getMinutes() - local.getTimezoneOffset());
    input.value = local.toISOString().slice(0, 19);
  }
  return input;
}

function timeOf(input) {
  return input.value ? new Date(input.value).toISOString() : "";
}

function withoutNull(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

function withoutEmpty(fields) {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ""));
}
