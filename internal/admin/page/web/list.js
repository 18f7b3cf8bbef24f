// This module shows the list of decisions and its filters.

import { element, mark, outcomeClass } from "./draw.js";
import { at, label, outcomeOf, resultText, state, userText } from "./state.js";

// maxRows is the maximum number of decisions in the list. The API returns older decisions too.
export const maxRows = 500;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

function row(d) {
  const outcome = outcomeOf(d);
  const link = element("a", { href: "#" + d.id, class: outcomeClass(outcome) },
    mark(outcome),
    element("span", { class: "request", title: label(d) }, label(d)),
    element("span", { class: "user", title: userText(d) }, userText(d)),
    element("span", { class: "result word" }, resultText(d)),
    element("span", { class: "time" }, clock.format(new Date(d.time))));
  link.dataset.id = d.id;
  if (d.id === state.chosen) link.setAttribute("aria-current", "true");
  return element("li", {}, link);
}

// replaceAll replaces the list by the given decisions, which are sorted from the oldest to the newest.
export function replaceAll(decisions) {
  state.held = [];
  state.missed = 0;
  state.decisions = decisions.reverse();
  state.decisions.forEach(suggestUser);
  at("list").replaceChildren(...state.decisions.map(row));
  updateBar();
}

// add shows new decisions, or keeps them back while the rows of the list must not move.
export function add(decisions) {
  state.held.push(...decisions);
  if (state.held.length > maxRows) state.held.splice(0, state.held.length - maxRows);
  decisions.forEach(suggestUser);
  showHeld(false);
}

export function addMissed(count) {
  state.missed += count;
  updateBar();
}

// mayMove reports whether new rows may be inserted into the list. They may not while the page is paused, while the list
// is scrolled, or while the pointer or the keyboard focus is in the list.
function mayMove() {
  const list = at("list");
  return !state.paused && !list.matches(":hover") && !list.contains(document.activeElement) && list.scrollTop === 0;
}

export function showHeld(force) {
  if (state.held.length && (force || mayMove())) {
    const added = state.held.splice(0);
    announce(added);
    const list = at("list");
    for (const d of added) {
      state.decisions.unshift(d);
      list.prepend(row(d));
    }
    for (const d of state.decisions.splice(maxRows)) list.querySelector(`[data-id="${d.id}"]`)?.parentElement.remove();
  }
  updateBar();
}

// updateBar updates the texts above the list.
function updateBar() {
  const n = state.decisions.length;
  const missed = state.missed ? `, ${state.missed} dropped because they came too fast` : "";
  at("count").textContent = n === 0 ? "" : (n === 1 ? "1 request" : `${n} requests`) + missed;
  at("empty").hidden = n > 0;
  at("empty").textContent = filters().size > 0
    ? "No request matches. Clear the filters to see all requests."
    : "No requests yet. Each request appears here after its response.";
  const held = at("held");
  held.hidden = state.held.length === 0;
  held.textContent = `show ${state.held.length} new`;
}

// announce updates the live region for screen readers, at most every 4 s.
let lastAnnounced = 0;
function announce(decisions) {
  const now = Date.now();
  if (now - lastAnnounced < 4000) return;
  lastAnnounced = now;
  const d = decisions[decisions.length - 1];
  const more = decisions.length > 1 ? `, and ${decisions.length - 1} more` : "";
  at("live").textContent = `${label(d)}, ${userText(d)}: ${resultText(d)}${more}`;
}

// suggestUser adds a user to the suggestions of the user filter.
const users = new Set();
function suggestUser(d) {
  const name = d.user?.name;
  if (!name || users.has(name) || users.size >= 50) return;
  users.add(name);
  at("users").append(element("option", { value: name }));
}

// markChosen marks the row of the selected decision.
export function markChosen() {
  for (const link of at("list").querySelectorAll("[aria-current]")) link.removeAttribute("aria-current");
  at("list").querySelector(`[data-id="${state.chosen}"]`)?.setAttribute("aria-current", "true");
}

// ---- Filters. The address of the page contains the values of the filters too.

const filterNames = ["path", "user", "outcome"];

// filters returns the query for the API.
export function filters() {
  const query = new URLSearchParams();
  for (const name of filterNames) {
    const value = at("filter-" + name).value.trim();
    if (value) query.set(name, value);
  }
  return query;
}

export function readFilters() {
  const query = new URLSearchParams(location.search);
  for (const name of filterNames) at("filter-" + name).value = query.get(name) ?? "";
}

export function writeFilters() {
  const query = filters().toString();
  history.replaceState(null, "", location.pathname + (query ? "?" + query : "") + location.hash);
}
