// A check of a webhook's receiver: its start, its progress and its report.

import * as api from "./api.js";
import { announce, el, trouble, whileBusy } from "./dom.js";
import { dueAfterPause, duration, exactly, outcome } from "./format.js";

const POLL_MS = 1000;
const PAUSED_POLL_MS = 60_000;
const REASONS = {
  webhook_disabled: "the webhook is disabled",
  webhook_deleted: "the webhook is deleted",
  secret_missing: "the webhook has no secret: rotate it",
  not_started: "it could not be started",
  internal_error: "something failed on our side",
};
const VERDICTS = {
  passed: ["Passed", "good"],
  failed: ["Failed", "bad"],
  information: ["Information", "busy"],
};
const COLUMNS = ["Request", "Expected", "Response", "Verdict", "What it means"];
const REQUESTS = {
  valid: "A genuine request",
  duplicate: "The same once more",
  tampered_body: "Body changed after signing",
  old_secret: "Signed with an old secret",
  unsigned: "Without a signature",
  truncated_signature: "Part of the signature missing",
  stale_timestamp: "Ten minutes old",
  future_timestamp: "Ten minutes ahead",
  tampered_timestamp: "Old, with a new time",
};

/** Return the section, and `run`, which starts a check for the pressed button. */
export function checkSection(id, signal) {
  const title = el("h2", { id: "check", tabindex: "-1" }, "Check of your receiver");
  const content = el("div");
  const element = el("section", { "aria-labelledby": "check", class: "panel", hidden: true }, title, content);

  async function run(pressed) {
    await whileBusy(pressed, async () => {
      let check = await api.startCheck(id);
      const until = Date.parse(check.not_before ?? check.created_at);
      element.hidden = false;
      element.scrollIntoView({ block: "nearest" });
      content.replaceChildren(el("p", { class: "hint" }, dueAfterPause(check, "Genuine and forged requests are being sent…")));
      announce("The check is started.");
      try {
        while (check.status === "running") {
          await api.pause(Math.max(POLL_MS, Math.min(until - Date.now(), PAUSED_POLL_MS)), signal);
          check = await api.check(id, check.id, signal);
        }
      } catch (error) {
        if (error.name !== "AbortError") content.replaceChildren(trouble(error.message));
        return;
      }
      content.replaceChildren(...reportOf(check));
      // The report shows the result. A long announcement on top of it would hide it.
      announce(check.requests ? `The check is done: ${verdictOf(check)[0].toLowerCase()}.` : "The check could not be made.");
    });
  }

  return { element, run };
}

function verdictOf(check) {
  return check.verified ? ["Verified", "good"] : ["Not verified", "bad"];
}

function reportOf(check) {
  if (!check.requests) return [trouble(`The check could not be made: ${REASONS[check.reason] ?? check.reason}.`)];
  const [name, tone] = verdictOf(check);
  return [
    el("p", { class: "state" }, el("span", { class: `pill ${tone}` }, name), el("span", {}, check.message)),
    tableOf(check.requests),
    el("p", { class: "hint" }, "Made ", exactly(check.updated_at), "."),
  ];
}

function tableOf(requests) {
  return el("table", { class: "report" },
    el("thead", {}, el("tr", {}, COLUMNS.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, requests.map(row)),
  );
}

function row(request) {
  const [verdict, tone] = VERDICTS[request.verdict] ?? [request.verdict, "off"];
  const cells = [
    el("strong", {}, REQUESTS[request.request] ?? request.request),
    el("span", {}, request.expected),
    [el("span", {}, outcome(request)), el("small", {}, duration(request.duration_ms))],
    el("span", { class: `pill ${tone}` }, verdict),
    el("span", {}, request.message),
  ];
  return el("tr", {}, cells.map((cell, at) => el("td", { "data-label": COLUMNS[at] }, cell)));
}
