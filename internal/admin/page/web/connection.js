// This module keeps the page connected to the event stream.

import { follow, get, StatusError } from "./api.js";
import { add, addMissed, filters, maxRows, replaceAll } from "./list.js";
import { at, state } from "./state.js";

let current = null; // the AbortController of the current stream
let lost = false;

function show(name, text) {
  document.body.dataset.state = name;
  if (at("state-text").textContent !== text) at("state-text").textContent = text;
}

export function showState() {
  if (lost) show("lost", "disconnected; retrying");
  else if (state.paused) show("paused", "paused");
  else show("live", "live");
}

// connect loads the list and follows new decisions, with the current filters. It reconnects until connect is called
// again.
export async function connect() {
  current?.abort();
  const abort = current = new AbortController();
  for (let wait = 500; !abort.signal.aborted; wait = Math.min(wait * 2, 8000)) {
    try {
      const query = filters();
      query.set("limit", String(maxRows));
      const kept = await get("/api/decisions?" + query, abort.signal);
      replaceAll(kept.decisions);
      lost = false;
      showState();
      wait = 500;
      const after = filters();
      after.set("since", String(kept.last));
      await follow("/api/events?" + after, abort.signal, kept.instance, add, addMissed);
    } catch (err) {
      if (abort.signal.aborted) return;
      if (err instanceof StatusError && err.status === 401) return askToken(err);
      if (err instanceof StatusError && err.status === 400) return show("lost", err.message);
    }
    if (abort.signal.aborted) return;
    lost = true;
    showState();
    await new Promise(done => setTimeout(done, wait));
  }
}

// askToken shows the form for the token.
export function askToken(err) {
  at("token-wrong").textContent = at("token-value").value ? err.message : "";
  at("token").hidden = false;
  at("main").hidden = true;
  show("lost", "token required");
  at("token-value").focus();
}
