// The search of the documentation. The index is loaded when the search field gets the focus for the first time.
"use strict";

const form = document.getElementById("search");
const input = form.querySelector("input");
const results = document.getElementById("results");
const most = 20; // results that are shown

form.hidden = false;

function load() {
  if (document.querySelector("script[src='search-index.js']")) return;
  const script = document.createElement("script");
  script.src = "search-index.js";
  script.addEventListener("load", show);
  document.head.append(script);
}

// find returns the sections that contain all words, the best first: words in headings count more than words in the text.
function find(words) {
  const found = [];
  for (const [url, page, heading, text] of searchIndex) {
    const [inPage, inHeading, inText] = [page, heading, text].map(part => part.toLowerCase());
    let score = 0;
    for (const word of words) {
      const points = (inHeading.includes(word) ? 8 : 0) + (inPage.includes(word) ? 4 : 0) + (inText.includes(word) ? 1 : 0);
      if (points === 0) { score = 0; break; }
      score += points;
    }
    if (score > 0 && inText.includes(words.join(" "))) score += 3;
    if (score > 0) found.push({score, url, page, heading, text});
  }
  return found.sort((a, b) => b.score - a.score);
}

// mark appends a text to an element, with the words highlighted.
function mark(element, text, words) {
  const lower = text.toLowerCase();
  for (let from = 0; from < text.length;) {
    let at = text.length, length = 0;
    for (const word of words) {
      const next = lower.indexOf(word, from);
      if (next >= 0 && (next < at || next === at && word.length > length)) { at = next; length = word.length; }
    }
    element.append(text.slice(from, at));
    if (length > 0) {
      const marked = document.createElement("mark");
      marked.textContent = text.slice(at, at + length);
      element.append(marked);
    }
    from = at + length;
  }
}

// excerpt returns the part of a text around the first word.
function excerpt(text, words) {
  const lower = text.toLowerCase();
  const first = Math.min(...words.map(word => lower.indexOf(word)).filter(at => at >= 0), text.length);
  const start = first === text.length || first < 60 ? 0 : text.indexOf(" ", first - 60) + 1;
  return (start > 0 ? "… " : "") + text.slice(start, start + 160) + (text.length > start + 160 ? " …" : "");
}

function show() {
  const words = input.value.toLowerCase().split(/\s+/).filter(word => word !== "");
  results.replaceChildren();
  results.hidden = words.length === 0 || typeof searchIndex === "undefined";
  if (results.hidden) return;
  const found = find(words);
  const count = document.createElement("p");
  count.setAttribute("role", "status");
  count.textContent = found.length === 0 ? "No section has all of these words." :
    found.length === 1 ? "1 section" : found.length + " sections" + (found.length > most ? `, the best ${most} of them:` : "");
  results.append(count);
  for (const {url, page, heading, text} of found.slice(0, most)) {
    const link = document.createElement("a");
    link.href = url;
    const title = document.createElement("strong");
    mark(title, heading === page ? page : page + " › " + heading, words);
    const part = document.createElement("small");
    mark(part, excerpt(text, words), words);
    link.append(title, part);
    results.append(link);
  }
}

function close() {
  results.hidden = true;
}

input.addEventListener("focus", load);
input.addEventListener("focus", show);
input.addEventListener("input", show);
form.addEventListener("submit", event => {
  event.preventDefault();
  results.querySelector("a")?.click();
});
results.addEventListener("click", event => { if (event.target.closest("a")) close(); });
document.addEventListener("click", event => { if (!form.contains(event.target)) close(); });
form.addEventListener("focusout", event => {
  if (event.relatedTarget && !form.contains(event.relatedTarget)) close();
});
form.addEventListener("keydown", event => {
  const stops = [input, ...results.querySelectorAll("a")];
  const at = stops.indexOf(document.activeElement);
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    const to = at + (event.key === "ArrowDown" ? 1 : -1);
    stops[Math.max(0, Math.min(to, stops.length - 1))].focus();
  } else if (event.key === "Escape") {
    input.value = "";
    close();
    input.blur();
  }
});
document.addEventListener("keydown", event => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey &&
      !event.target.closest("input, textarea, select")) {
    event.preventDefault();
    input.focus();
  }
});
