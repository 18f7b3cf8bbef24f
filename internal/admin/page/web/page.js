// The admin page. It shows what the admin API returns and decides nothing itself: explanations, remedies and what-if
// results come from the server. Paths, user names and everything else are inserted as text.

import { follow, get, post, setToken, StatusError } from "./api.js";
import { element, mark, outcomeClass, stateClass } from "./draw.js";

const at = id => document.getElementById(id);

// most is how many decisions the list has; what is older can be asked of the API.
const most = 500;

const state = {
  decisions: [],          // what the list shows, the newest first
  held: [],               // what has come and is not shown yet, the newest last
  missed: 0,              // how many came faster than they were read
  paused: false,
  chosen: 0,              // the id of the decision that is drawn
  drawing: 0,             // counts the times that one was asked for, so that a late answer is not drawn
  lost: false,
  stop: null,             // ends the stream
  sent: new Map(),        // what was sent from here, by the decision's id
  can: {},
};

// ---- The list

function label(d) {
  if (d.handshake) return "TLS handshake";
  if (d.noRequest) return "no request";
  return `${d.method} ${d.path}`;
}

function outcomeOf(d) {
  if (d.outcome) return d.outcome;
  return "none";
}

const words = { none: "" };

function who(d) {
  if (d.handshake) return d.handshake;
  if (d.noRequest) return d.noRequest;
  if (d.user) return d.user.name;
  return d.outcome ? "not authenticated" : "no authentication";
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

// full is a date and a time, in an order that is read alike everywhere.
const full = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

function row(d) {
  const outcome = outcomeOf(d);
  const link = element("a", { href: "#" + d.id, class: outcomeClass(outcome) },
    mark(outcome),
    element("span", { class: "request", title: label(d) }, label(d)),
    element("span", { class: "user", title: who(d) }, who(d)),
    element("span", { class: "result word" }, (d.status ? d.status + " " : "") + (words[outcome] ?? outcome)),
    element("span", { class: "time" }, clock.format(new Date(d.time))));
  link.dataset.id = d.id;
  if (d.id === state.chosen) link.setAttribute("aria-current", "true");
  return element("li", {}, link);
}

function showAll() {
  at("list").replaceChildren(...state.decisions.map(row));
  tally();
}

// quiet says whether rows may be put in: they never move under a pointer or under the keyboard.
function quiet() {
  const list = at("list");
  return !state.paused && !list.matches(":hover") && !list.contains(document.activeElement) && list.scrollTop === 0;
}

function take(decisions) {
  state.held.push(...decisions);
  if (state.held.length > most) state.held.splice(0, state.held.length - most);
  for (const d of decisions) remember(d);
  settle(false);
}

function settle(anyhow) {
  if (state.held.length && (anyhow || quiet())) {
    const coming = state.held.splice(0);
    announce(coming);
    const list = at("list");
    for (const d of coming) {
      state.decisions.unshift(d);
      list.prepend(row(d));
    }
    for (const d of state.decisions.splice(most)) list.querySelector(`[data-id="${d.id}"]`)?.parentElement.remove();
  }
  tally();
}

function tally() {
  const n = state.decisions.length;
  at("count").textContent = n === 0 ? "" : (n === 1 ? "1 request" : `${n} requests`) + (state.missed ? `, ${state.missed} missed` : "");
  at("empty").hidden = n > 0;
  at("empty").textContent = filtering() ? "No request matches. Clear the filters to see all requests." : "No requests yet. Each one appears here after its response.";
  const held = at("held");
  held.hidden = state.held.length === 0;
  held.textContent = `show ${state.held.length} new`;
}

// announce tells who listens rather than looks, and no more often than can be listened to.
let lately = 0;
function announce(decisions) {
  const now = Date.now();
  if (now - lately < 4000) return;
  lately = now;
  const d = decisions[decisions.length - 1], outcome = outcomeOf(d);
  const more = decisions.length > 1 ? `, and ${decisions.length - 1} more` : "";
  at("live").textContent = `${label(d)}, ${who(d)}: ${d.status ?? ""} ${words[outcome] ?? outcome}${more}`;
}

const users = new Set();
function remember(d) {
  const name = d.user?.name;
  if (!name || users.has(name) || users.size >= 50) return;
  users.add(name);
  at("users").append(element("option", { value: name }));
}

// ---- Filters

function filters() {
  const query = new URLSearchParams();
  for (const name of ["path", "user", "outcome"]) {
    const value = at("filter-" + name).value.trim();
    if (value) query.set(name, value);
  }
  return query;
}

const filtering = () => filters().size > 0;

function readFilters() {
  const query = new URLSearchParams(location.search);
  for (const name of ["path", "user", "outcome"]) at("filter-" + name).value = query.get(name) ?? "";
}

let typing;
function filtersChanged() {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const query = filters().toString();
    history.replaceState(null, "", location.pathname + (query ? "?" + query : "") + location.hash);
    connect();
  }, 200);
}

// ---- The connection

function tell(name, text) {
  document.body.dataset.state = name;
  if (at("state-text").textContent !== text) at("state-text").textContent = text;
}

function tellState() {
  if (state.lost) tell("lost", "disconnected; retrying");
  else if (state.paused) tell("paused", "paused");
  else tell("live", "live");
}

async function connect() {
  state.stop?.abort();
  const stop = state.stop = new AbortController();
  for (let wait = 500; !stop.signal.aborted; wait = Math.min(wait * 2, 8000)) {
    try {
      const query = filters();
      query.set("limit", String(most));
      const kept = await get("/api/decisions?" + query, stop.signal);
      state.held = [];
      state.missed = 0;
      state.decisions = kept.decisions.reverse();
      state.decisions.forEach(remember);
      showAll();
      state.lost = false;
      tellState();
      wait = 500;
      const after = filters();
      after.set("since", String(kept.last));
      await follow("/api/events?" + after, stop.signal, kept.instance, take, count => { state.missed += count; tally(); });
    } catch (err) {
      if (stop.signal.aborted) return;
      if (err instanceof StatusError && err.status === 401) return askToken(err);
      if (err instanceof StatusError && err.status === 400) return tell("lost", err.message);
    }
    if (stop.signal.aborted) return;
    state.lost = true;
    tellState();
    await new Promise(done => setTimeout(done, wait));
  }
}

function askToken(err) {
  at("token-wrong").textContent = at("token-value").value ? err.message : "";
  at("token").hidden = false;
  at("main").hidden = true;
  tell("lost", "token required");
  at("token-value").focus();
}

// ---- One decision

async function choose(id) {
  for (const link of at("list").querySelectorAll("[aria-current]")) link.removeAttribute("aria-current");
  state.chosen = id;
  if (!id) {
    instead("Select a request to see how it was handled.");
    return;
  }
  at("list").querySelector(`[data-id="${id}"]`)?.setAttribute("aria-current", "true");
  const drawing = ++state.drawing;
  try {
    const told = await get("/api/decisions/" + id);
    if (drawing === state.drawing) draw(told);
  } catch (err) {
    if (drawing !== state.drawing) return;
    instead(err.message);
  }
}

// instead says why no request is shown.
function instead(text) {
  at("request").hidden = true;
  at("nothing").hidden = false;
  at("nothing").replaceChildren(element("p", {}, text));
}

// glances are names of stops that fit under a mark.
const overviewNames = { certificate: "certificate", authorization: "authorization" };

function draw(told) {
  const { explanation } = told;
  const zone = told.node ? ` on ${told.node}` : "";
  at("crumb").textContent = `#${told.id}${zone}, ${full.format(new Date(told.time))}, from ${told.remote}`;
  at("title").textContent = label(told);
  const outcome = at("outcome");
  outcome.className = "outcome " + outcomeClass(explanation.outcome);
  outcome.replaceChildren(
    element("span", { class: "word" }, (explanation.status ? explanation.status + " " : "") + explanation.outcome),
    explanation.reason ? ": " + explanation.reason : "", told.affectedBy?.length ? `; affected by injected faults: ${told.affectedBy.join(", ")}` : "", " ");
  if (explanation.remedies?.length) {
    const there = element("button", { type: "button", class: "quiet" }, "Remedies");
    there.addEventListener("click", () => at("remedies").scrollIntoView());
    outcome.append(there);
  }
  at("overview").replaceChildren(...explanation.stages.map(s => element("li", { class: stateClass(s.state) },
    mark(s.state), element("span", {}, overviewNames[s.id] ?? s.name))));
  drawStages(explanation, null);
  drawRemedies(explanation.remedies ?? []);
  drawSent(told.id);
  drawSettings(told);
  at("nothing").hidden = true;
  at("request").hidden = false;
  document.title = `#${told.id} ${label(told)}: fauxlet`;
  at("detail").scrollTop = 0;
}

// breakable has a long name break where a person would break it.
const breakable = name => name.split(/(?<=[./])/).flatMap((part, i) => i ? [element("wbr", {}), part] : [part]);

function stage(s, differs, brief = false) {
  const facts = !brief && s.facts?.length ? element("dl", {}, ...s.facts.flatMap(f => [element("dt", {}, ...breakable(f.name)), element("dd", {}, f.value)])) : "";
  return element("div", { class: `stage ${stateClass(s.state)}${differs ? " changed" : ""}` },
    mark(s.state),
    element("div", {},
      element("p", {}, element("span", { class: "name" }, s.name), " ", element("span", { class: "word" }, s.state)),
      element("p", { class: "text" }, s.message ?? ""),
      facts));
}

// drawStages shows an explanation, or the actual one and a what-if side by side.
function drawStages(explanation, whatIf) {
  const list = at("stages");
  list.classList.toggle("two", whatIf !== null);
  at("heads").hidden = whatIf === null;
  if (whatIf === null) {
    list.replaceChildren(...explanation.stages.map(s => element("li", {}, stage(s, false))));
    return;
  }
  // There may be another number of reviews in each; all else is once in both.
  const rows = [], ids = [...new Set([...explanation.stages, ...whatIf.stages].map(s => s.id))];
  const order = explanation.stages.map(s => s.id);
  ids.sort((a, b) => order.indexOf(a) - order.indexOf(b));
  for (const id of ids) {
    const left = explanation.stages.filter(s => s.id === id), right = whatIf.stages.filter(s => s.id === id);
    for (let i = 0; i < Math.max(left.length, right.length); i++) rows.push([left[i], right[i]]);
  }
  list.replaceChildren(...rows.map(([a, b]) => {
    const differs = !a || !b || a.state !== b.state || a.message !== b.message;
    const none = () => element("div", {});
    // Where nothing differs, there is no need to read the facts twice.
    return element("li", {}, a ? stage(a, false, !differs) : none(), b ? stage(b, differs, !differs) : none());
  }));
}

function copyable(name, text) {
  const button = element("button", { type: "button", "aria-label": `Copy: ${name}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(button.previousElementSibling);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return element("div", { class: "form" }, element("span", {}, name), element("pre", {}, text), button);
}

function drawRemedies(remedies) {
  at("remedies").hidden = remedies.length === 0;
  at("remedy-list").replaceChildren(...remedies.map(c => element("li", {},
    element("p", { class: "summary" }, c.summary),
    c.kubelet ? copyable("kubelet configuration", c.kubelet) : "",
    c.apiserver ? copyable("kube-apiserver flags", c.apiserver) : "",
    c.kubectl ? copyable("commands", c.kubectl) : "",
    c.caution ? element("p", { class: "caution" }, "Caution: " + c.caution) : "")));
}

function drawSent(id) {
  const sent = state.sent.get(id);
  at("sent").hidden = !sent;
  if (!sent) return;
  at("sent-line").replaceChildren(sent.command ? copyable("same request with curl", sent.command) : "");
  at("sent-body").textContent = sent.body ?? "";
}

// ---- What if

// short says a setting in the words of the question.
const short = {
  "authentication.x509.clientCAFile": "client CA", "authentication.webhook.enabled": "token authentication",
  "authentication.anonymous.enabled": "anonymous", "authorization.mode": "authorization",
};
const said = value => ({ true: "on", false: "off", "": "none" })[value] ?? value.split("/").pop();

const asItIs = "Change a setting to see how the kubelet would have handled this request. Nothing is sent.";

async function drawSettings(told) {
  const section = at("whatif");
  at("whatif-result").textContent = asItIs;
  at("settings").replaceChildren();
  section.hidden = true;
  if (!state.can.whatIf || told.handshake || told.noRequest || !told.authentication?.length) return;
  const drawing = state.drawing;
  let settings;
  try {
    ({ settings } = await get(`/api/decisions/${told.id}/settings`));
  } catch {
    return;
  }
  if (drawing !== state.drawing) return;
  const selects = settings.map(s => {
    const select = element("select", { id: "set-" + s.field, title: s.field, disabled: s.values.length < 2 },
      ...s.values.map((value, i) => element("option", { value }, said(value) + (i === 0 ? " (current)" : ""))));
    select.dataset.field = s.field;
    return select;
  });
  at("settings").replaceChildren(...selects.map(s => element("label", {}, short[s.dataset.field] ?? s.dataset.field, s)));
  const changed = async () => {
    const asking = ++state.drawing;
    const set = {};
    for (const s of selects) {
      const other = s.selectedIndex > 0;
      s.classList.toggle("changed", other);
      if (other) set[s.dataset.field] = s.value;
    }
    if (Object.keys(set).length === 0) {
      at("whatif-result").textContent = asItIs;
      drawStages(told.explanation, null);
      return;
    }
    try {
      const { whatIf } = await post("/api/whatif", { decision: told.id, set });
      if (asking !== state.drawing) return;
      drawStages(told.explanation, whatIf);
      const same = whatIf.outcome === told.explanation.outcome && whatIf.status === told.explanation.status;
      at("whatif-result").replaceChildren(
        same ? "Same result: " : `Instead of ${told.explanation.status} ${told.explanation.outcome}: `,
        element("span", { class: outcomeClass(whatIf.outcome) }, element("span", { class: "word" }, `${whatIf.status} ${whatIf.outcome}`)),
        "; " + whatIf.reason);
    } catch (err) {
      if (asking !== state.drawing) return;
      at("whatif-result").replaceChildren(element("span", { class: "problem" }, err.message));
      drawStages(told.explanation, null);
    }
  };
  for (const s of selects) s.addEventListener("change", changed);
  section.hidden = false;
}

// ---- Sending, in a demo

async function prepareSending() {
  if (!state.can.send) return;
  const { clients } = await get("/api/clients");
  const descriptions = Object.fromEntries(clients.map(v => [v.name, v.description]));
  at("send-client").replaceChildren(...clients.map(v => element("option", { value: v.name }, v.name)));
  const tellWho = () => { at("send-description").textContent = descriptions[at("send-client").value] ?? ""; };
  at("send-client").addEventListener("change", tellWho);
  tellWho();
  at("send").hidden = false;
}

async function send(event) {
  event.preventDefault();
  const button = at("send-button");
  button.disabled = true;
  at("send-problem").textContent = "";
  try {
    const sent = await post("/api/send", { client: at("send-client").value, method: at("send-method").value, path: at("send-path").value.trim() });
    if (sent.decision) {
      state.sent.set(sent.decision, sent);
      if (state.sent.size > 50) state.sent.delete(state.sent.keys().next().value);
      location.hash = "#" + sent.decision;
    }
  } catch (err) {
    at("send-problem").textContent = err.message;
  } finally {
    button.disabled = false;
  }
}

// ---- Keys and buttons

function move(by) {
  const links = [...at("list").querySelectorAll("a")];
  if (links.length === 0) return;
  const now = links.findIndex(link => Number(link.dataset.id) === state.chosen);
  const to = links[Math.max(0, Math.min(links.length - 1, now < 0 ? 0 : now + by))];
  to.focus();
  to.scrollIntoView({ block: "nearest" });
  // Each step of a walk through the list is no page of the history.
  history.replaceState(null, "", location.pathname + location.search + "#" + to.dataset.id);
  choose(Number(to.dataset.id));
}

function pause() {
  state.paused = !state.paused;
  at("pause").setAttribute("aria-pressed", String(state.paused));
  at("pause").textContent = state.paused ? "Resume" : "Pause";
  tellState();
  settle(false);
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

const themes = ["auto", "light", "dark"];
function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const name = theme[0].toUpperCase() + theme.slice(1);
  at("theme").textContent = name;
  at("theme").setAttribute("aria-label", "Color scheme: " + (theme === "auto" ? "system" : theme));
}
function savedTheme() {
  try { return localStorage.getItem("theme") ?? "auto"; } catch { return "auto"; }
}
at("theme").addEventListener("click", () => {
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % themes.length];
  setTheme(next);
  try { localStorage.setItem("theme", next); } catch { /* then it holds until the page is closed */ }
});

at("pause").addEventListener("click", pause);
at("held").addEventListener("click", () => {
  at("list").scrollTop = 0;
  settle(true);
});
at("list").addEventListener("pointerleave", () => settle(false));
at("list").addEventListener("scroll", () => settle(false));
at("list").addEventListener("focusout", () => setTimeout(() => settle(false)));
at("filters").addEventListener("input", filtersChanged);
at("filters").addEventListener("submit", event => event.preventDefault());
at("send").addEventListener("submit", send);
at("skip").addEventListener("click", event => {
  event.preventDefault(); // the fragment is a decision's
  at("detail").focus();
});
at("token").addEventListener("submit", event => {
  event.preventDefault();
  setToken(at("token-value").value.trim());
  at("token").hidden = true;
  at("main").hidden = false;
  start();
});
window.addEventListener("hashchange", async () => {
  await choose(Number(location.hash.slice(1)) || 0);
  // On a narrow screen the request is below the list.
  if (matchMedia("(max-width: 760px)").matches) at("detail").scrollIntoView();
});
window.addEventListener("popstate", readFilters);

async function start() {
  try {
    state.can = await get("/api/build");
    await prepareSending();
  } catch (err) {
    if (err instanceof StatusError && err.status === 401) return askToken(err);
  }
  choose(Number(location.hash.slice(1)) || 0);
  connect();
}

setTheme(themes.includes(savedTheme()) ? savedTheme() : "auto");
readFilters();
start();
