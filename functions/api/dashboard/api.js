// A client of the API, which is the public one.

const WEBHOOKS = "/api/v1/webhooks";
const KEY = "sendcomms-api-key";
const TRIES = 3;
const LONGEST_PAUSE_SECONDS = 5;

/** An unsuccessful response. `details` names the fields and their faults. */
export class ApiError extends Error {
  constructor(status, { code = "unknown", message, details = [] }, requestId) {
    super(message ?? `The API returned ${status}.`);
    Object.assign(this, { status, code, details, requestId });
  }
}

// The key is kept while this tab is open: never in a cookie or in local storage.
export const key = {
  get: () => sessionStorage.getItem(KEY),
  set(text) {
    if (!/^[!-~]+$/.test(text)) throw new ApiError(401, { message: "This is not a valid key." });
    sessionStorage.setItem(KEY, text);
  },
  forget: () => sessionStorage.removeItem(KEY),
};

/** Send a call and return the whole envelope. Reads are retried if that may help. */
async function call(method, path, { body, idempotencyKey, signal } = {}) {
  const headers = { Authorization: `Bearer ${key.get()}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  const request = { method, headers, signal, cache: "no-store", redirect: "error" };
  if (body !== undefined) request.body = JSON.stringify(body);
  for (let number = 1; ; number++) {
    let response;
    try {
      response = await fetch(path, request);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      const message = "The API cannot be reached. Check your connection and try again.";
      throw new ApiError(0, { code: "unreachable", message });
    }
    const passing = response.status === 429 || response.status === 503;
    if (!(passing && method === "GET" && number < TRIES)) return read(response);
    const asked = Number(response.headers.get("Retry-After")) || number;
    await pause(Math.min(asked, LONGEST_PAUSE_SECONDS) * 1000, signal);
  }
}

async function read(response) {
  const envelope = await response.json().catch(() => ({}));
  if (response.ok && envelope.success) return envelope;
  // A response of the gateway itself has a message and no envelope.
  const error = envelope.error ?? { code: `http_${response.status}`, message: envelope.message };
  throw new ApiError(response.status, error, response.headers.get("X-Request-Id"));
}

/** Wait; reject with an AbortError when `signal` is aborted. */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("The page was left", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Return a sender for a form: sending the same fields twice has one effect only. */
export function once(method, path) {
  let last = null;
  let idempotencyKey;
  return async (body) => {
    const text = JSON.stringify(body);
    if (text !== last) idempotencyKey = randomId();
    last = text;
    const { data, warnings } = await call(method, path, { body, idempotencyKey });
    return warnings ? { ...data, warnings: warnings.map((each) => each.message) } : data;
  };
}

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

const of = (webhookId, ...rest) =>
  [WEBHOOKS, ...[webhookId, ...rest].map(encodeURIComponent)].join("/");
const data = async (...request) => (await call(...request)).data;

export const eventTypes = (signal) => data("GET", "/api/v1/event-types", { signal });
export const webhooksPage = (cursor, limit, signal) =>
  call("GET", WEBHOOKS + query({ limit, cursor }), { signal });
export const webhook = (id, signal) => data("GET", of(id), { signal });
export const registration = () => once("POST", WEBHOOKS);
export const changeWebhook = (id, changes) => data("PATCH", of(id), { body: changes });
export const deleteWebhook = (id) => data("DELETE", of(id));
export const rotation = (id) => once("POST", of(id, "rotate-secret"));
export const testing = (id) => once("POST", of(id, "test"));
export const startCheck = (id) => once("POST", of(id, "check"))();
export const check = (id, checkId, signal) => data("GET", of(id, "checks", checkId), { signal });

/** Return a page of a webhook's log; `filter` may have status, event, since, until, cursor. */
export const deliveriesPage = (id, filter, signal) =>
  call("GET", of(id, "deliveries") + query(filter), { signal });
export const delivery = (id, deliveryId, signal) =>
  data("GET", of(id, "deliveries", deliveryId), { signal });
export const resend = (id, deliveryId) => once("POST", of(id, "deliveries", deliveryId, "resend"))();

export const replays = (id, limit, signal) =>
  data("GET", of(id, "replays") + query({ limit }), { signal });
export const replay = (id, replayId, signal) => data("GET", of(id, "replays", replayId), { signal });
export const replaying = (id) => once("POST", of(id, "replay"));
export const cancelReplay = (id, replayId) => data("DELETE", of(id, "replays", replayId));
