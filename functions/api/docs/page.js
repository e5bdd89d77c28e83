"use strict";

const key = document.getElementById("key");

function requestOf(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  const headers = {};
  let body;
  for (const field of form.querySelectorAll("[data-in]")) {
    const value = field.value;
    if (field.dataset.in === "body") {
      body = value;
      headers["Content-Type"] = "application/json";
    } else if (field.dataset.in === "path") {
      path = path.replace(`{${field.name}}`, encodeURIComponent(value));
    } else if (value !== "" && field.dataset.in === "query") {
      query.append(field.name, value);
    } else if (value !== "" && field.dataset.in === "header") {
      headers[field.name] = value;
    }
  }
  if (key.value !== "") {
    headers.Authorization = `Bearer ${key.value}`;
  }
  const url = query.size === 0 ? path : `${path}?${query}`;
  return [url, { method: form.dataset.method, headers, body, credentials: "omit", cache: "no-store" }];
}

function shown(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text.slice(0, 20000);
  }
}

async function send(form) {
  const output = form.querySelector("output");
  const button = form.querySelector("button");
  output.hidden = false;
  output.textContent = "Sending ...";
  button.disabled = true;
  try {
    const [url, options] = requestOf(form);
    const response = await fetch(url, options);
    const wait = response.headers.get("Retry-After");
    const line = wait === null ? "" : `\nRetry-After: ${wait}`;
    output.textContent = `${response.status}${line}\n\n${shown(await response.text())}`;
  } catch (error) {
    output.textContent = `No response: ${error.message}`;
  } finally {
    button.disabled = false;
  }
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.target.dataset.path !== undefined) {
    send(event.target);
  }
});
