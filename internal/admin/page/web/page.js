// The page of fauxlet. It draws what the API tells, and decides nothing: roads, cures and what-ifs come from the server.
// What comes from there, such as paths and user names, goes into the document as text alone.

import { follow, get, post, setToken, Denied } from "./api.js";
import { element, mark, verdictClass, outcomeClass } from "./draw.js";

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

const words = { none: "not judged" };

function who(d) {
  if (d.handshake) return d.handshake;
  if (d.noRequest) return d.noRequest;
  if (d.user) return d.user.name;
  return d.outcome ? "nobody is known" : "nobody is asked";
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

// full is a date and a time, in an order that is read alike everywhere.
const full = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

function row(d) {
  const outcome = outcomeOf(d);
  const link = element("a", { href: "#" + d.id, class: verdictClass(outcome) },
    mark(outcome),
    element("span", { class: "what", title: label(d) }, label(d)),
    element("span", { class: "who", title: who(d) }, who(d)),
    element("span", { class: "how word" }, (d.status ? d.status + " " : "") + (words[outcome] ?? outcome)),
    element("span", { class: "when" }, clock.format(new Date(d.time))));
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
  at("empty").textContent = filtering() ? "No request is like that. Empty the filters to see all." : "Nothing yet. Requests appear here as they are answered.";
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
  if (state.lost) tell("lost", "no connection; trying again");
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
      if (err instanceof Denied && err.status === 401) return askToken(err);
      if (err instanceof Denied && err.status === 400) return tell("lost", err.message);
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
  tell("lost", "a token is wanted");
  at("token-value").focus();
}

// ---- One decision

async function choose(id) {
  for (const link of at("list").querySelectorAll("[aria-current]")) link.removeAttribute("aria-current");
  state.chosen = id;
  if (!id) {
    instead("Choose a request to see its road.");
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
const glances = { certificate: "certificate", review: "review" };

function draw(told) {
  const { road } = told;
  const zone = told.node ? ` on ${told.node}` : "";
  at("crumb").textContent = `#${told.id}${zone}, ${full.format(new Date(told.time))}, from ${told.remote}`;
  at("title").textContent = label(told);
  const verdict = at("verdict");
  verdict.className = "verdict " + verdictClass(road.verdict);
  verdict.replaceChildren(
    element("span", { class: "word" }, (road.status ? road.status + " " : "") + road.verdict),
    road.why ? ": " + road.why : "", told.affectedBy?.length ? `; struck by ${told.affectedBy.join(", ")}, set on purpose` : "", " ");
  if (road.cures?.length) {
    const there = element("button", { type: "button", class: "quiet" }, "What changes it");
    there.addEventListener("click", () => at("cures").scrollIntoView());
    verdict.append(there);
  }
  at("glance").replaceChildren(...road.stops.map(s => element("li", { class: outcomeClass(s.outcome) },
    mark(s.outcome), element("span", {}, glances[s.id] ?? s.name))));
  drawRoad(road, null);
  drawCures(road.cures ?? []);
  drawSent(told.id);
  drawSettings(told);
  at("nothing").hidden = true;
  at("request").hidden = false;
  document.title = `#${told.id} ${label(told)}: fauxlet`;
  at("detail").scrollTop = 0;
}

// breakable has a long name break where a person would break it.
const breakable = name => name.split(/(?<=[./])/).flatMap((part, i) => i ? [element("wbr", {}), part] : [part]);

function stop(s, differs, brief = false) {
  const facts = !brief && s.facts?.length ? element("dl", {}, ...s.facts.flatMap(f => [element("dt", {}, ...breakable(f.name)), element("dd", {}, f.value)])) : "";
  return element("div", { class: `stop ${outcomeClass(s.outcome)}${differs ? " other" : ""}` },
    mark(s.outcome),
    element("div", {},
      element("p", {}, element("span", { class: "name" }, s.name), " ", element("span", { class: "word" }, s.outcome)),
      element("p", { class: "text" }, s.says ?? ""),
      facts));
}

// drawRoad draws a road, or two side by side, stop by stop.
function drawRoad(road, supposed) {
  const list = at("road");
  list.classList.toggle("two", supposed !== null);
  at("heads").hidden = supposed === null;
  if (supposed === null) {
    list.replaceChildren(...road.stops.map(s => element("li", {}, stop(s, false))));
    return;
  }
  // There may be another number of reviews in each; all else is once in both.
  const rows = [], ids = [...new Set([...road.stops, ...supposed.stops].map(s => s.id))];
  const order = road.stops.map(s => s.id);
  ids.sort((a, b) => order.indexOf(a) - order.indexOf(b));
  for (const id of ids) {
    const left = road.stops.filter(s => s.id === id), right = supposed.stops.filter(s => s.id === id);
    for (let i = 0; i < Math.max(left.length, right.length); i++) rows.push([left[i], right[i]]);
  }
  list.replaceChildren(...rows.map(([a, b]) => {
    const differs = !a || !b || a.outcome !== b.outcome || a.says !== b.says;
    const none = () => element("div", {});
    // Where nothing differs, there is no need to read the facts twice.
    return element("li", {}, a ? stop(a, false, !differs) : none(), b ? stop(b, differs, !differs) : none());
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

function drawCures(cures) {
  at("cures").hidden = cures.length === 0;
  at("cure-list").replaceChildren(...cures.map(c => element("li", {},
    element("p", { class: "what" }, c.what),
    c.kubelet ? copyable("kubelet configuration", c.kubelet) : "",
    c.apiserver ? copyable("apiserver flag", c.apiserver) : "",
    c.kubectl ? copyable("command", c.kubectl) : "",
    c.caution ? element("p", { class: "caution" }, "Mind: " + c.caution) : "")));
}

function drawSent(id) {
  const sent = state.sent.get(id);
  at("sent").hidden = !sent;
  if (!sent) return;
  at("sent-line").replaceChildren(sent.line ? copyable("as a command", sent.line) : "");
  at("sent-body").textContent = sent.body ?? "";
}

// ---- What if

// short says a setting in the words of the question.
const short = {
  "authentication.x509.clientCAFile": "client CA", "authentication.webhook.enabled": "token webhook",
  "authentication.anonymous.enabled": "anonymous", "authorization.mode": "authorization",
};
const said = value => ({ true: "on", false: "off", "": "none" })[value] ?? value.split("/").pop();

const asItIs = "Choose another setting, and see the same request go through the same chain with it. Nothing is sent.";

async function drawSettings(told) {
  const section = at("whatif");
  at("whatif-says").textContent = asItIs;
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
      ...s.values.map((value, i) => element("option", { value }, said(value) + (i === 0 ? " (as it is)" : ""))));
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
      at("whatif-says").textContent = asItIs;
      drawRoad(told.road, null);
      return;
    }
    try {
      const { supposed } = await post("/api/whatif", { decision: told.id, set });
      if (asking !== state.drawing) return;
      drawRoad(told.road, supposed);
      const same = supposed.verdict === told.road.verdict && supposed.status === told.road.status;
      at("whatif-says").replaceChildren(
        same ? "It would be the same: " : `Rather than ${told.road.status} ${told.road.verdict}: `,
        element("span", { class: verdictClass(supposed.verdict) }, element("span", { class: "word" }, `${supposed.status} ${supposed.verdict}`)),
        "; " + supposed.why);
    } catch (err) {
      if (asking !== state.drawing) return;
      at("whatif-says").replaceChildren(element("span", { class: "trouble" }, err.message));
      drawRoad(told.road, null);
    }
  };
  for (const s of selects) s.addEventListener("change", changed);
  section.hidden = false;
}

// ---- Sending, in a demo

async function prepareSending() {
  if (!state.can.send) return;
  const { visitors } = await get("/api/visitors");
  const says = Object.fromEntries(visitors.map(v => [v.name, v.says]));
  at("send-as").replaceChildren(...visitors.map(v => element("option", { value: v.name }, v.name)));
  const tellWho = () => { at("send-says").textContent = says[at("send-as").value] ?? ""; };
  at("send-as").addEventListener("change", tellWho);
  tellWho();
  at("send").hidden = false;
}

async function send(event) {
  event.preventDefault();
  const button = at("send-button");
  button.disabled = true;
  at("send-trouble").textContent = "";
  try {
    const sent = await post("/api/send", { as: at("send-as").value, method: at("send-method").value, path: at("send-path").value.trim() });
    if (sent.decision) {
      state.sent.set(sent.decision, sent);
      if (state.sent.size > 50) state.sent.delete(state.sent.keys().next().value);
      location.hash = "#" + sent.decision;
    }
  } catch (err) {
    at("send-trouble").textContent = err.message;
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
  at("pause").textContent = state.paused ? "Go on" : "Pause";
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
  at("theme").setAttribute("aria-label", "Colours: " + (theme === "auto" ? "as the system has them" : theme));
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
    if (err instanceof Denied && err.status === 401) return askToken(err);
  }
  choose(Number(location.hash.slice(1)) || 0);
  connect();
}

setTheme(themes.includes(savedTheme()) ? savedTheme() : "auto");
readFilters();
start();
