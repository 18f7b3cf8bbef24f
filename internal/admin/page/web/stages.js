// This module shows the stages of an explanation.

import { element, mark, stateClass } from "./draw.js";
import { at } from "./state.js";

// breakable allows line breaks in a long name after each dot and slash.
const breakable = name => name.split(/(?<=[./])/).flatMap((part, i) => i ? [element("wbr", {}), part] : [part]);

function stage(s, { changed = false, brief = false } = {}) {
  const facts = !brief && s.facts?.length
    ? element("dl", {}, ...s.facts.flatMap(f => [element("dt", {}, ...breakable(f.name)), element("dd", {}, f.value)]))
    : "";
  return element("div", { class: `stage ${stateClass(s.state)}${changed ? " changed" : ""}` },
    mark(s.state),
    element("div", {},
      element("p", {}, element("span", { class: "name" }, s.name), " ", element("span", { class: "word" }, s.state)),
      element("p", { class: "text" }, s.message ?? ""),
      facts));
}

// drawStages shows the stages of an explanation. If there is a what-if, it shows the stages of both explanations side
// by side.
export function drawStages(actual, whatIf = null) {
  const list = at("stages");
  list.classList.toggle("two", whatIf !== null);
  at("heads").hidden = whatIf === null;
  if (whatIf === null) {
    list.replaceChildren(...actual.stages.map(s => element("li", {}, stage(s))));
    return;
  }
  list.replaceChildren(...pairs(actual, whatIf).map(([a, b]) => {
    const differ = !a || !b || a.state !== b.state || a.message !== b.message;
    const none = () => element("div", {});
    // If both stages are the same, their facts are hidden.
    return element("li", {},
      a ? stage(a, { brief: !differ }) : none(),
      b ? stage(b, { changed: differ, brief: !differ }) : none());
  }));
}

// pairs returns the stages of two explanations in pairs with the same ID. Two explanations can differ in the number of
// their authorization stages, so one stage of such a pair may be undefined.
function pairs(actual, whatIf) {
  const rows = [];
  for (const id of new Set([...actual.stages, ...whatIf.stages].map(s => s.id))) {
    const left = actual.stages.filter(s => s.id === id), right = whatIf.stages.filter(s => s.id === id);
    for (let i = 0; i < Math.max(left.length, right.length); i++) rows.push([left[i], right[i]]);
  }
  return rows;
}

// drawOverview shows the states of all stages in one line.
const shortNames = { certificate: "certificate", authorization: "authorization" };
export function drawOverview(explanation) {
  at("overview").replaceChildren(...explanation.stages.map(s => element("li", { class: stateClass(s.state) },
    mark(s.state), element("span", {}, shortNames[s.id] ?? s.name))));
}
