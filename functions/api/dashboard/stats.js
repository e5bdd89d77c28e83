// A webhook's last day, from its delivery log: arrivals and speed, hour by hour.

import * as api from "./api.js";
import { el, svg } from "./dom.js";
import { DAY_MS, clock, duration, eventTime, number, percent, plural } from "./format.js";

const HOUR_MS = 3_600_000;
const HOURS = 24;
const PAGE = 100;

/** The quantile of response times that counts as slow. */
export const SLOW = 0.95;

/** A large chart's measures, the same for all charts, so that their hours align. */
export const FRAME = { width: 720, height: 150, left: 46, bottom: 22, top: 12 };
const GLANCE = { width: 240, height: 44, left: 0, bottom: 1, top: 1 };
export const STEP = (FRAME.width - FRAME.left) / HOURS;
export const BASE = FRAME.height - FRAME.bottom + 0.5;

// The parts of a bar, from the bottom up.
const PARTS = [
  { name: "arrived", label: "Arrived", statuses: ["succeeded"] },
  { name: "underway", label: "Under way", statuses: ["pending", "retrying", "waiting"] },
  { name: "failed", label: "Not arrived", statuses: ["exhausted", "cancelled"] },
];

/**
 * Read at most `pages` pages of the last day, newest first, and count.
 *
 * `complete` is false if the day has more deliveries; the counts then begin at `since`.
 */
export async function lastDay(webhookId, pages, signal) {
  const end = Date.now();
  const since = new Date(end - DAY_MS).toISOString();
  // Events with a future time are above the day's until they are filed by their acceptance. One
  // hour more, because this clock may be slow.
  const until = new Date(end + HOUR_MS).toISOString();
  const deliveries = [];
  let cursor;
  do {
    const page = await api.deliveriesPage(webhookId, { since, until, limit: PAGE, cursor }, signal);
    deliveries.push(...page.data);
    cursor = page.pagination.next_cursor;
  } while (cursor && --pages > 0);
  return count(deliveries, end, !cursor);
}

/** Count deliveries, which are newest first, by the hours before `end` (Unix milliseconds). */
export function count(deliveries, end, complete) {
  const firstHour = Math.floor(end / HOUR_MS) - HOURS + 1;
  const hours = Array.from({ length: HOURS }, (_, at) => ({
    start: (firstHour + at) * HOUR_MS,
    arrived: 0,
    underway: 0,
    failed: 0,
    milliseconds: [],
  }));
  const totals = { arrived: 0, underway: 0, failed: 0 };
  const milliseconds = [];
  for (const delivery of deliveries) {
    const part = PARTS.find(({ statuses }) => statuses.includes(delivery.status));
    if (!part) continue;
    totals[part.name] += 1;
    // The day began within an hour without a bar of its own: the first bar includes it.
    const at = Math.floor(eventTime(delivery) / HOUR_MS) - firstHour;
    const hour = hours[Math.min(Math.max(at, 0), HOURS - 1)];
    hour[part.name] += 1;
    if (delivery.status === "succeeded" && delivery.last_attempt) {
      hour.milliseconds.push(delivery.last_attempt.duration_ms);
      milliseconds.push(delivery.last_attempt.duration_ms);
    }
  }
  const oldest = deliveries.length ? eventTime(deliveries.at(-1)) : end;
  return {
    ...totals,
    hours,
    complete,
    total: sum(totals),
    medianMs: quantile(milliseconds, 0.5),
    slowMs: quantile(milliseconds, SLOW),
    since: complete ? end - DAY_MS : oldest,
  };
}

/** Return the quantile of the values at this share; null without values. */
export function quantile(values, share) {
  if (!values.length) return null;
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.ceil(share * sorted.length) - 1];
}

/** Return the counts in one sentence. */
export function inWords(day) {
  if (!day.total) return "Nothing was sent in the last 24 hours.";
  const span = day.complete ? "In the last 24 hours" : `Since ${clock(day.since)}`;
  return (
    `${span} ${plural(day.total, "delivery", "deliveries")}: ${number(day.arrived)} arrived, ` +
    `${number(day.underway)} under way, ${number(day.failed)} not arrived.`
  );
}

/** Return the most important figures: two at a glance, or all of them. */
export function figures(day, { all = false } = {}) {
  return el("dl", { class: "figures" },
    figure("Arrived", percent(day.arrived, day.total)),
    figure("Median response", duration(day.medianMs)),
    all ? figure("95 of 100 within", duration(day.slowMs)) : null,
  );
}

function figure(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

/** Return the bars; with `axis`, a larger chart with its scale and hours. */
export function chart(day, { axis = false } = {}) {
  const { width, height, left, bottom, top } = axis ? FRAME : GLANCE;
  // An even number, so that half of it is a whole number of deliveries too.
  const most = 2 * Math.ceil(Math.max(1, ...day.hours.map(sum)) / 2);
  const room = height - bottom - top;
  const step = (width - left) / HOURS;
  const bars = day.hours.map((hour, at) => {
    const x = left + at * step + step * 0.14;
    let y = height - bottom;
    const parts = PARTS.filter(({ name }) => hour[name]).map(({ name }) => {
      const tall = Math.max(2, (hour[name] / most) * room);
      y -= tall;
      return svg("rect", { class: name, x, y, width: step * 0.72, height: tall, rx: 1.5 });
    });
    return svg("g", {}, svg("title", {}, hourInWords(hour)), parts);
  });
  const base = height - bottom + 0.5;
  return svg("svg", { class: axis ? "chart large" : "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": inWords(day) },
    axis ? scale(most, number) : null,
    bars,
    svg("line", { class: "base", x1: left, x2: width, y1: base, y2: base }),
    axis ? hourLabels(day) : null,
  );
}

const sum = ({ arrived, underway, failed }) => arrived + underway + failed;

function hourInWords({ start, arrived, underway, failed }) {
  return `${clock(start)}: ${number(arrived)} arrived, ${number(underway)} under way, ${number(failed)} not arrived`;
}

/** Return the lines of a large chart at `most` and at half of it, labelled by `words`. */
export function scale(most, words) {
  const { left, width, top } = FRAME;
  return [most, most / 2].map((value) => {
    const y = BASE - (value / most) * (BASE - top);
    return [
      svg("line", { class: "grid", x1: left, x2: width, y1: y, y2: y }),
      svg("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, words(value)),
    ];
  });
}

/** Return every fourth hour of a large chart. */
export function hourLabels(day) {
  return day.hours.filter((_, at) => at % 4 === 3).map((hour, at) =>
    svg("text", { x: FRAME.left + (at * 4 + 3.5) * STEP, y: FRAME.height - 5, "text-anchor": "middle" }, clock(hour.start)),
  );
}

/** Return the legend of the bars' colours. */
export function legend() {
  return el("ul", { class: "legend" },
    PARTS.map(({ name, label }) => el("li", {}, el("span", { class: `swatch ${name}` }), label)),
  );
}

const COLUMNS = ["Hour", ...PARTS.map(({ label }) => label), "Median response", "95 of 100 within"];

/** Return the charts' numbers as a table, for users who read rather than look. */
export function table(day) {
  const busy = day.hours.filter(sum);
  const rows = busy.map((hour) =>
    el("tr", {}, el("th", { scope: "row" }, clock(hour.start)),
      PARTS.map(({ name }) => el("td", {}, number(hour[name]))),
      [0.5, SLOW].map((share) => el("td", {}, duration(quantile(hour.milliseconds, share))))),
  );
  return el("details", { class: "numbers" },
    el("summary", {}, "The same as a table"),
    el("table", {},
      el("thead", {}, el("tr", {}, COLUMNS.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, rows),
    ),
  );
}
