// How the page asks the API. A token, where one is wanted, is kept here and nowhere else.

let token = "";

export function setToken(value) { token = value; }

// Denied is the error of what was answered, and not granted.
export class Denied extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(path, options) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = "Bearer " + token;
  const response = await fetch(path, { ...options, headers, credentials: "omit", redirect: "error" });
  if (!response.ok) {
    let text = `${response.status} ${response.statusText}`;
    try { text = (await response.json()).error ?? text; } catch { /* it is no JSON */ }
    throw new Denied(response.status, text);
  }
  return response;
}

export async function get(path, signal) { return (await ask(path, { signal })).json(); }

export async function post(path, value) {
  return (await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) })).json();
}

// A stream on which nothing was heard for so long, in milliseconds, is lost: something is sent every 15 s.
const silence = 45000;

// follow gives what comes to take, several at a time, and to missed how many were gone before they were read, until the
// stream ends. It is not an EventSource, which can send no token.
export async function follow(path, signal, instance, take, missed) {
  const cut = new AbortController();
  const both = AbortSignal.any([signal, cut.signal]);
  let watch = setTimeout(() => cut.abort(), silence);
  let gathered = [], waiting = 0;
  const flush = () => {
    waiting = 0;
    if (!signal.aborted && gathered.length) take(gathered.splice(0));
  };
  try {
    const response = await ask(path, { signal: both });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(watch);
      watch = setTimeout(() => cut.abort(), silence);
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const text of events) {
        const event = parse(text);
        if (event.name === "start" && event.data.instance !== instance) return; // another process, with other decisions
        if (event.name === "decision") gathered.push(event.data);
        if (event.name === "dropped") missed(event.data.count);
      }
      // All that comes within a moment is shown at once.
      if (gathered.length && !waiting) waiting = setTimeout(flush, 150);
    }
  } finally {
    clearTimeout(watch);
    clearTimeout(waiting);
    flush();
  }
}

function parse(text) {
  const event = { name: "", data: null };
  for (const line of text.split("\n")) {
    if (line.startsWith("event: ")) event.name = line.slice(7);
    if (line.startsWith("data: ")) event.data = JSON.parse(line.slice(6));
  }
  return event;
}
