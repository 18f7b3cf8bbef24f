// This module is the client of the admin API. It keeps the token for this tab, so that it survives a reload.

let token = savedToken();

export function setToken(value) {
  token = value;
  try { sessionStorage.setItem("token", value); } catch { /* the token is kept until the page is reloaded */ }
}

function savedToken() {
  try { return sessionStorage.getItem("token") ?? ""; } catch { return ""; }
}

// StatusError is the error for a response whose status code reports a failure.
export class StatusError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function call(path, options) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = "Bearer " + token;
  const response = await fetch(path, { ...options, headers, credentials: "omit", redirect: "error" });
  if (!response.ok) {
    let text = `${response.status} ${response.statusText}`;
    try { text = (await response.json()).error ?? text; } catch { /* the body is not JSON */ }
    throw new StatusError(response.status, text);
  }
  return response;
}

export async function get(path, signal) { return (await call(path, { signal })).json(); }

export async function post(path, value) {
  return (await call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) })).json();
}

// maxSilence is the time in milliseconds after which the page closes a silent stream. The server sends something every
// 15 s.
const maxSilence = 45000;

// follow reads the event stream until it ends. It calls take with an array of decisions, and missed with the number of
// dropped decisions. It does not use EventSource, because EventSource cannot send a token.
export async function follow(path, signal, instance, take, missed) {
  const cut = new AbortController();
  const both = AbortSignal.any([signal, cut.signal]);
  let watch = setTimeout(() => cut.abort(), maxSilence);
  let gathered = [], waiting = 0;
  const flush = () => {
    waiting = 0;
    if (!signal.aborted && gathered.length) take(gathered.splice(0));
  };
  try {
    const response = await call(path, { signal: both });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(watch);
      watch = setTimeout(() => cut.abort(), maxSilence);
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const text of events) {
        const event = parse(text);
        if (event.name === "start" && event.data.instance !== instance) return; // IDs of another process are unrelated
        if (event.name === "decision") gathered.push(event.data);
        if (event.name === "dropped") missed(event.data.count);
      }
      // Decisions that arrive close together are shown together.
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
