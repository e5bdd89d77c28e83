// A webhook's delivery log: filters, rows, and further rows on demand.

import * as api from "./api.js";
import { clearErrors, showErrors } from "./dialogs.js";
import { announce, button, el, foreign, whileBusy } from "./dom.js";
import { duration, eventTime, outcome, plural, statusPill, when } from "./format.js";
import { filterForm } from "./forms.js";

const PAGE = 20;
const EMPTY_PAGES = 20;
const COLUMNS = ["Event", "Status", "Happened", "Attempts", "Last response", "Transaction"];

/** Return the section and `load`, which reads it again. */
export function logSection(id, types, signal) {
  let filter = {};
  let current;
  const rows = el("tbody");
  const state = el("div", { class: "log-state" });
  const table = el("table", { class: "log" },
    el("caption", { class: "unseen" }, "Deliveries, newest first"),
    el("thead", {}, el("tr", {}, COLUMNS.map((name) => el("th", { scope: "col" }, name)))),
    rows,
  );
  const form = filterForm(types, filter, async (chosen) => {
    filter = chosen;
    await load();
    if (!state.querySelector("[role=alert]")) announce(`${plural(rows.children.length, "delivery", "deliveries")} shown.`);
  });
  signal.addEventListener("abort", () => current?.abort());

  async function load() {
    current?.abort();
    current = new AbortController();
    clearErrors(form);
    await show(undefined, current.signal, (found) => rows.replaceChildren(...found));
  }

  async function show(cursor, ending, place) {
    try {
      const page = await pageWithRows(id, { ...filter, limit: PAGE, cursor }, ending);
      const found = page.data.map((delivery) => row(id, delivery));
      place(found);
      table.hidden = !rows.children.length;
      state.replaceChildren(...below(page, found, ending));
    } catch (error) {
      if (error.name === "AbortError") return;
      state.replaceChildren(...showErrors(form, error));
      if (!cursor) table.hidden = true;
    }
  }

  function below(page, found, ending) {
    const { next_cursor: cursor } = page.pagination;
    const more = button("Show older", () => whileBusy(more, () => show(cursor, ending, (older) => {
      rows.append(...older);
      older[0]?.querySelector("a").focus();
    })));
    const none = Object.keys(filter).length ? "No delivery fits the filter." : "Nothing was delivered yet. Send a test event to see how it looks.";
    const words = rows.children.length || cursor ? [] : [el("p", { class: "hint" }, none)];
    return cursor ? [more] : words;
  }

  const element = el("section", { "aria-labelledby": "log", class: "panel" },
    el("h2", { id: "log" }, "Deliveries"), form, table, state,
  );
  table.hidden = true;
  return { element, load };
}

/** Return the next page with a row: one call skips only a limited number of filtered rows. */
async function pageWithRows(id, filter, signal) {
  let page = await api.deliveriesPage(id, filter, signal);
  for (let left = EMPTY_PAGES; !page.data.length && page.pagination.next_cursor && left; left--) {
    page = await api.deliveriesPage(id, { ...filter, cursor: page.pagination.next_cursor }, signal);
  }
  return page;
}

function row(webhookId, delivery) {
  const { last_attempt: last } = delivery;
  const href = `#/webhooks/${encodeURIComponent(webhookId)}/deliveries/${encodeURIComponent(delivery.id)}`;
  const next = delivery.next_attempt_at && delivery.status === "retrying";
  const cells = [
    [el("a", { href }, delivery.event), delivery.test ? el("span", { class: "badge" }, "test") : null],
    [statusPill(delivery), next ? el("small", {}, "next ", when(delivery.next_attempt_at)) : null],
    [when(new Date(eventTime(delivery)).toISOString())],
    [String(delivery.attempt_count)],
    last ? [outcome(last), el("small", {}, duration(last.duration_ms))] : ["–"],
    [el("code", {}, foreign(delivery.transaction_id ?? "–"))],
  ];
  // On a phone the columns have no headings, so the numbers carry their units as words.
  const unit = delivery.attempt_count === 1 ? "attempt" : "attempts";
  return el("tr", {}, cells.map((cell, at) => el("td", { "data-unit": COLUMNS[at] === "Attempts" && unit }, cell)));
}
