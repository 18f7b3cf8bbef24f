// This module contains what all other modules share: the state of the page, and short texts about decisions.

export const at = id => document.getElementById(id);

export const state = {
  decisions: [],   // the decisions in the list, newest first
  held: [],        // new decisions that are not in the list yet, newest last
  missed: 0,       // how many decisions the server dropped because they came too fast
  paused: false,
  chosen: 0,       // the ID of the selected decision
  drawing: 0,      // increases with each drawing, so that a late response is ignored
  sent: new Map(), // results of requests sent from this page, by decision ID
  can: {},         // what the server supports
};

export function label(d) {
  if (d.handshake) return "TLS handshake";
  if (d.noRequest) return "no request";
  return `${d.method} ${d.path}`;
}

export function userText(d) {
  if (d.handshake) return d.handshake;
  if (d.noRequest) return d.noRequest;
  if (d.user) return d.user.name;
  return d.outcome ? "not authenticated" : "no authentication";
}

// outcomeOf returns "none" for a request without authentication.
export const outcomeOf = d => d.outcome || "none";

export function resultText(d) {
  const outcome = d.outcome || "";
  return d.status ? `${d.status} ${outcome}`.trim() : outcome;
}
