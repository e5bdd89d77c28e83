// The latest replay of a webhook: its progress, and a button to cancel it.

import * as api from "./api.js";
import { announce, button, el, whileBusy } from "./dom.js";
import { DAY_MS, exactly, number, statusName, when } from "./format.js";

const POLL_MS = 1500;
const REASONS = {
  webhook_disabled: "the webhook is disabled",
  webhook_deleted: "the webhook is deleted",
  not_started: "it could not be started",
  internal_error: "something failed on our side",
};
const ENDINGS = {
  completed: "The replay is complete.",
  cancelled: "The replay is cancelled.",
  failed: "The replay failed.",
};

/** Return the section, `load` and `follow`; `ended` is called when a running replay ends. */
export function replaySection(id, signal, ended) {
  const title = el("h2", { id: "replay", tabindex: "-1" }, "Replay");
  const content = el("div");
  const element = el("section", { "aria-labelledby": "replay", class: "panel", hidden: true }, title, content);

  async function load() {
    try {
      const [latest] = await api.replays(id, 1, signal);
      if (latest && Date.now() - Date.parse(latest.updated_at) < DAY_MS) await follow(latest, { quietly: true });
    } catch (error) {
      if (error.name !== "AbortError") announce(error.message);
    }
  }

  async function follow(replay, { quietly = false } = {}) {
    const ran = replay.status === "running";
    element.hidden = false;
    draw(replay);
    if (!quietly) {
      element.scrollIntoView({ block: "nearest" });
      announce("The replay is started.");
    }
    try {
      while (replay.status === "running") {
        await api.pause(POLL_MS, signal);
        replay = await api.replay(id, replay.id, signal);
        draw(replay);
      }
    } catch (error) {
      if (error.name !== "AbortError") announce(error.message);
      return;
    }
    if (ran) {
      announce(`${ENDINGS[replay.status] ?? ""} ${inWords(replay)}`);
      await ended();
    }
  }

  function draw(replay) {
    const running = replay.status === "running";
    if (running && content.querySelector("progress")) {
      update(replay);
      return;
    }
    const cancel = button("Cancel the replay", () => whileBusy(cancel, () => api.cancelReplay(id, replay.id)));
    content.replaceChildren(
      el("p", {}, running ? "Deliveries of " : `${ENDINGS[replay.status] ?? replay.status} Deliveries of `, exactly(replay.since), " to ", exactly(replay.until), ": ", replay.statuses.map(statusName).join(", ").toLowerCase(), "."),
      ...(running ? [el("progress", { max: 1, "aria-label": "How far the replay has come" })] : []),
      el("p", { class: "counts" }),
      running ? cancel : el("p", { class: "hint" }, "Ended ", when(replay.updated_at), replay.reason ? `: ${REASONS[replay.reason] ?? replay.reason}.` : "."),
    );
    update(replay);
  }

  function update(replay) {
    content.querySelector(".counts").textContent = inWords(replay);
    const progress = content.querySelector("progress");
    if (progress) progress.value = share(replay);
  }

  return { element, load, follow };
}

const inWords = ({ sent, succeeded, failed }) =>
  `${number(sent)} sent: ${number(succeeded)} arrived, ${number(failed)} failed.`;

/** Return the part of its period that a replay has finished, 0 to 1. */
function share(replay) {
  const [since, at, until] = [replay.since, replay.replayed_until, replay.until].map(Date.parse);
  return until > since ? Math.min(1, (at - since) / (until - since)) : 1;
}
