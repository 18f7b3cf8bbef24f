// This module creates elements of the page. All content is inserted as text, never parsed as HTML.

export function element(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === undefined) continue;
    e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children);
  return e;
}

const svg = "http://www.w3.org/2000/svg";

// Each outcome and state has its own shape, so that users can distinguish them without seeing colors.
const disc = "M10 1.5a8.5 8.5 0 1 0 .01 0z", square = "M2 2h16v16H2z", triangle = "M10 1.5 19 18H1z";
const shapes = {
  passed: [disc, "M6 10.5l2.8 2.8L14 7.5"], allowed: [disc, "M6 10.5l2.8 2.8L14 7.5"],
  refused: [square, "M6.5 6.5l7 7M13.5 6.5l-7 7"], failed: [square, "M6.5 6.5l7 7M13.5 6.5l-7 7"],
  error: [triangle, "M10 7.5v4.5M10 15v.01"],
  skipped: [disc, "M6.5 10h7"],
};

export function mark(outcome) {
  const picture = document.createElementNS(svg, "svg");
  picture.setAttribute("viewBox", "0 0 20 20");
  picture.setAttribute("class", "mark");
  picture.setAttribute("aria-hidden", "true");
  const [body, sign] = shapes[outcome] ?? [disc, ""];
  for (const [name, d] of [["body", body], ["sign", sign]]) {
    if (!d) continue;
    const path = document.createElementNS(svg, "path");
    path.setAttribute("class", name);
    path.setAttribute("d", d);
    picture.append(path);
  }
  return picture;
}

// outcomeClass returns the CSS class for the outcome of a decision. stateClass returns the CSS class for the state of a
// stage.
export function outcomeClass(outcome) {
  return ["allowed", "refused", "error"].includes(outcome) ? outcome : "none";
}

export function stateClass(state) { return state.replaceAll(" ", "-"); }
