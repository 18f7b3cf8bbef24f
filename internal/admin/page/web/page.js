// This module starts the admin page and handles its keys and buttons. list.js, detail.js, whatif.js and send.js are its
// parts.
//
// The page shows what the admin API returns. Explanations, remedies and what-if results come from the server. All texts
// from the server, such as paths and user names, are inserted as text.

import { get, setToken, StatusError } from "./api.js";
import { askToken, connect, showState } from "./connection.js";
import { choose } from "./detail.js";
import { readFilters, showHeld, writeFilters } from "./list.js";
import { prepareSending } from "./send.js";
import { at, state } from "./state.js";

// takeToken takes the token from the link that fauxlet prints, which ends in #token=…, and removes it from the address
// bar. It returns whether there was a token.
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return false;
  setToken(token);
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}

const idInHash = () => Number(location.hash.slice(1)) || 0;

async function start() {
  at("token").hidden = true;
  at("main").hidden = false;
  try {
    state.can = await get("/api/build");
    await prepareSending();
  } catch (err) {
    if (err instanceof StatusError && err.status === 401) return askToken(err);
  }
  choose(idInHash() || await firstForbidden());
  connect();
}

// firstForbidden returns the ID of the first request that got 403, or 0 if there is none. Its explanation is the best
// one to begin with: it has most stages, and a remedy.
async function firstForbidden() {
  try {
    const { decisions } = await get("/api/decisions?status=403");
    return decisions.length > 0 ? Math.min(...decisions.map(d => d.id)) : 0;
  } catch {
    return 0; // connect shows the error
  }
}

// move selects another row of the list.
function move(by) {
  const links = [...at("list").querySelectorAll("a")];
  if (links.length === 0) return;
  const now = links.findIndex(link => Number(link.dataset.id) === state.chosen);
  const to = links[Math.max(0, Math.min(links.length - 1, now < 0 ? 0 : now + by))];
  to.focus();
  to.scrollIntoView({ block: "nearest" });
  // Moving through the list adds no entries to the history of the browser.
  history.replaceState(null, "", location.pathname + location.search + "#" + to.dataset.id);
  choose(Number(to.dataset.id));
}

function pause() {
  state.paused = !state.paused;
  at("pause").setAttribute("aria-pressed", String(state.paused));
  at("pause").textContent = state.paused ? "Resume" : "Pause";
  showState();
  showHeld(false);
}

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const inDetail = at("detail").contains(event.target);
  const actions = {
    j: () => move(1), k: () => move(-1), p: pause,
    ArrowDown: inDetail ? null : () => move(1), ArrowUp: inDetail ? null : () => move(-1),
    "/": () => at("filter-path").focus(),
    Escape: () => document.activeElement?.blur(),
  };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

// ---- Color scheme

const themes = ["auto", "light", "dark"];

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  at("theme").textContent = theme[0].toUpperCase() + theme.slice(1);
  at("theme").setAttribute("aria-label", "Color scheme: " + at("theme").textContent);
}

function savedTheme() {
  try { return localStorage.getItem("theme") ?? "auto"; } catch { return "auto"; }
}

at("theme").addEventListener("click", () => {
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % themes.length];
  setTheme(next);
  try { localStorage.setItem("theme", next); } catch { /* the theme applies until the page is closed */ }
});

// ---- Events

at("pause").addEventListener("click", pause);
at("held").addEventListener("click", () => {
  at("list").scrollTop = 0;
  showHeld(true);
});
at("list").addEventListener("pointerleave", () => showHeld(false));
at("list").addEventListener("scroll", () => showHeld(false));
at("list").addEventListener("focusout", () => setTimeout(() => showHeld(false)));

let typing;
at("filters").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    writeFilters();
    connect();
  }, 200);
});
at("filters").addEventListener("submit", event => event.preventDefault());
at("skip").addEventListener("click", event => {
  event.preventDefault(); // do not follow the link: the fragment of the address must be the ID of a decision
  at("detail").focus();
});
at("token").addEventListener("submit", event => {
  event.preventDefault();
  setToken(at("token-value").value.trim().replace(/^Authorization: Bearer /, ""));
  start();
});
window.addEventListener("hashchange", async () => {
  if (takeToken()) return start();
  await choose(idInHash());
  // On a narrow screen the request is below the list.
  if (matchMedia("(max-width: 760px)").matches) at("detail").scrollIntoView();
});
window.addEventListener("popstate", readFilters);

setTheme(themes.includes(savedTheme()) ? savedTheme() : "auto");
takeToken();
readFilters();
start();
