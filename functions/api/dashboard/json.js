// JSON in colours: every piece is a text node in an element, never markup.

import { el } from "./dom.js";

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const LONGEST = 40_000;

/** Return formatted JSON as a fragment; very long JSON stays plain, because that draws at once. */
export function coloured(text) {
  const whole = el("code");
  if (text.length > LONGEST) {
    whole.append(text);
    return whole;
  }
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [found, string, colon = "", word] = match;
    const kind = colon ? "name" : string ? "string" : word ? "word" : "number";
    const token = string ?? found;
    whole.append(text.slice(end, match.index), el("span", { class: `json-${kind}` }, token), colon);
    end = match.index + found.length;
  }
  whole.append(text.slice(end));
  return whole;
}
