// The response times of a webhook's server, hour by hour, as a chart.

import { el, svg } from "./dom.js";
import { clock, duration } from "./format.js";
import { BASE, FRAME, SLOW, STEP, hourLabels, quantile, scale } from "./stats.js";

/** Return the chart of a day's response times: each hour's median, and its 95th percentile. */
export function timesChart(day) {
  const hours = day.hours.map(({ start, milliseconds }) => ({
    start,
    median: quantile(milliseconds, 0.5),
    slow: quantile(milliseconds, SLOW),
  }));
  const busy = hours.filter(({ median }) => median !== null);
  const most = round(Math.max(1, ...busy.map(({ slow }) => slow)));
  const y = (ms) => BASE - (ms / most) * (BASE - FRAME.top);
  const marks = hours.map((hour, at) => hour.median === null ? null : mark(hour, FRAME.left + (at + 0.5) * STEP, y));
  return svg("svg", { class: "chart large times", viewBox: `0 0 ${FRAME.width} ${FRAME.height}`, role: "img", "aria-label": inWords(busy) },
    scale(most, duration),
    marks,
    svg("line", { class: "base", x1: FRAME.left, x2: FRAME.width, y1: BASE, y2: BASE }),
    hourLabels(day),
  );
}

function mark({ start, median, slow }, x, y) {
  const top = Math.min(y(slow), y(median) - 3);
  return svg("g", {},
    svg("title", {}, `${clock(start)}: median ${duration(median)}, 95 of 100 within ${duration(slow)}`),
    svg("rect", { class: "span", x: x - STEP * 0.18, y: top, width: STEP * 0.36, height: y(median) - top, rx: 3 }),
    svg("rect", { class: "median", x: x - STEP * 0.36, y: y(median) - 1.5, width: STEP * 0.72, height: 3, rx: 1.5 }),
  );
}

function inWords(busy) {
  const slowest = busy.reduce((one, other) => (other.median > one.median ? other : one));
  const fastest = busy.reduce((one, other) => (other.median < one.median ? other : one));
  if (slowest.median === fastest.median) return `The median response took ${duration(slowest.median)}.`;
  return (
    `Median responses took from ${duration(fastest.median)}, at ${clock(fastest.start)}, ` +
    `to ${duration(slowest.median)}, at ${clock(slowest.start)}.`
  );
}

/** Return the next 1, 2 or 5 with zeros: half of each is a round number too. */
function round(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((times) => times * size).find((each) => each >= value);
}

/** Return the legend of the marks. */
export function timesLegend() {
  return el("ul", { class: "legend" },
    el("li", {}, el("span", { class: "swatch median" }), "Median response"),
    el("li", {}, el("span", { class: "swatch span" }), "up to what 95 of 100 took"),
  );
}
