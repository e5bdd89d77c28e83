// A webhook's last day, from its delivery log: how much arrived, how fast, hour by hour.

import * as api from "./api.js";
import { el, svg } from "./dom.js";
import { DAY_MS, clock, duration, eventTime, number, percent, plural } from "./format.js";

const HOUR_MS = 3_600_000;
const HOURS = 24;
const PAGE = 100;

// What a bar is made of, from the bottom up.
const PARTS = [
  { name: "arrived", label: "Arrived", statuses: ["succeeded"] },
  { name: "underway", label: "Under way", statuses: ["pending", "retrying", "waiting"] },
  { name: "failed", label: "Not arrived", statuses: ["exhausted", "cancelled"] },
];

/**
 * Read at most `pages` pages of the last day, newest first, and count.
 *
 * `complete` is false where the day has more deliveries; the counts are then those since `since`.
 */
export async function lastDay(webhookId, pages, signal) {
  const end = Date.now();
  const since = new Date(end - DAY_MS).toISOString();
  const deliveries = [];
  let cursor;
  do {
    const page = await api.deliveriesPage(webhookId, { since, limit: PAGE, cursor }, signal);
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
  }));
  const totals = { arrived: 0, underway: 0, failed: 0 };
  const milliseconds = [];
  for (const delivery of deliveries) {
    const part = PARTS.find(({ statuses }) => statuses.includes(delivery.status));
    if (!part) continue;
    totals[part.name] += 1;
    // The day began within an hour that has no bar of its own: the first one stands for it.
    const at = Math.floor(eventTime(delivery) / HOUR_MS) - firstHour;
    hours[Math.min(Math.max(at, 0), HOURS - 1)][part.name] += 1;
    if (delivery.status === "succeeded" && delivery.last_attempt) {
      milliseconds.push(delivery.last_attempt.duration_ms);
    }
  }
  const oldest = deliveries.length ? eventTime(deliveries.at(-1)) : end;
  return {
    ...totals,
    hours,
    complete,
    total: sum(totals),
    medianMs: median(milliseconds),
    since: complete ? end - DAY_MS : oldest,
  };
}

function median(values) {
  if (!values.length) return null;
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
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

/** Return the two figures that tell most. */
export function figures(day) {
  return el("dl", { class: "figures" },
    figure("Arrived", percent(day.arrived, day.total)),
    figure("Median answer", duration(day.medianMs)),
  );
}

function figure(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

/** Return the bars; with `axis`, a larger chart with its scale and hours. */
export function chart(day, { axis = false } = {}) {
  const width = axis ? 720 : 240;
  const height = axis ? 150 : 44;
  const [left, bottom, top] = axis ? [34, 22, 12] : [0, 1, 1];
  // Even, so that half of it is a whole number of deliveries too.
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
    axis ? scale(most, left, width, top, base) : null,
    bars,
    svg("line", { class: "base", x1: left, x2: width, y1: base, y2: base }),
    axis ? hourLabels(day, left, step, height) : null,
  );
}

const sum = ({ arrived, underway, failed }) => arrived + underway + failed;

function hourInWords({ start, arrived, underway, failed }) {
  return `${clock(start)}: ${number(arrived)} arrived, ${number(underway)} under way, ${number(failed)} not arrived`;
}

function scale(most, left, width, top, base) {
  return [most, most / 2].map((value) => {
    const y = base - (value / most) * (base - top);
    return [
      svg("line", { class: "grid", x1: left, x2: width, y1: y, y2: y }),
      svg("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, number(value)),
    ];
  });
}

function hourLabels(day, left, step, height) {
  return day.hours.filter((_, at) => at % 4 === 3).map((hour, at) =>
    svg("text", { x: left + (at * 4 + 3.5) * step, y: height - 5, "text-anchor": "middle" }, clock(hour.start)),
  );
}

/** Return what the colours of the bars mean. */
export function legend() {
  return el("ul", { class: "legend" },
    PARTS.map(({ name, label }) => el("li", {}, el("span", { class: `swatch ${name}` }), label)),
  );
}

/** Return the bars' numbers as a table, for who reads rather than looks. */
export function table(day) {
  const busy = day.hours.filter(sum);
  const rows = busy.map((hour) =>
    el("tr", {}, el("th", { scope: "row" }, clock(hour.start)),
      PARTS.map(({ name }) => el("td", {}, number(hour[name])))),
  );
  return el("details", { class: "numbers" },
    el("summary", {}, "The same as a table"),
    el("table", {},
      el("thead", {}, el("tr", {}, ["Hour", ...PARTS.map(({ label }) => label)].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, rows),
    ),
  );
}
