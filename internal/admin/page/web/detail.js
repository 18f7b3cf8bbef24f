// This module shows the selected decision.

import { get } from "./api.js";
import { element, outcomeClass } from "./draw.js";
import { markChosen } from "./list.js";
import { drawOverview, drawStages } from "./stages.js";
import { at, label, state } from "./state.js";
import { drawSettings } from "./whatif.js";

// dateTime formats times in the same way for every language: 2026-01-02 15:04:05.
const dateTime = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

// choose selects a decision by its ID; 0 selects none.
export async function choose(id) {
  state.chosen = id;
  markChosen();
  if (!id) {
    showText("Select a request to see how it was handled.");
    return;
  }
  const drawing = ++state.drawing;
  try {
    const decision = await get("/api/decisions/" + id);
    if (drawing === state.drawing) draw(decision);
  } catch (err) {
    if (drawing === state.drawing) showText(err.message);
  }
}

// showText shows a text in place of a decision.
function showText(text) {
  at("request").hidden = true;
  at("nothing").hidden = false;
  at("nothing").replaceChildren(element("p", {}, text));
}

function draw(decision) {
  const { explanation } = decision;
  const node = decision.node ? ` on ${decision.node}` : "";
  at("crumb").textContent = `#${decision.id}${node}, ${dateTime.format(new Date(decision.time))}, from ${decision.remote}`;
  at("title").textContent = label(decision);
  drawOutcome(decision);
  drawOverview(explanation);
  drawStages(explanation);
  drawRemedies(explanation.remedies ?? []);
  drawSent(decision.id);
  drawSettings(decision);
  at("nothing").hidden = true;
  at("request").hidden = false;
  document.title = `#${decision.id} ${label(decision)}: fauxlet`;
  at("detail").scrollTop = 0;
}

function drawOutcome({ explanation, affectedBy }) {
  const { status, outcome, reason, remedies } = explanation;
  const line = at("outcome");
  line.className = "outcome " + outcomeClass(outcome);
  line.replaceChildren(
    element("span", { class: "word" }, (status ? status + " " : "") + outcome),
    reason ? ": " + reason : "", affectedBy?.length ? `; affected by injected faults: ${affectedBy.join(", ")}` : "", " ");
  if (remedies?.length) {
    const button = element("button", { type: "button", class: "quiet" }, "Remedies");
    button.addEventListener("click", () => at("remedies").scrollIntoView());
    line.append(button);
  }
}

function drawRemedies(remedies) {
  at("remedies").hidden = remedies.length === 0;
  at("remedy-list").replaceChildren(...remedies.map(r => element("li", {},
    element("p", { class: "summary" }, r.summary),
    r.kubelet ? copyable("kubelet configuration", r.kubelet) : "",
    r.apiserver ? copyable("kube-apiserver flags", r.apiserver) : "",
    r.kubectl ? copyable("commands", r.kubectl) : "",
    r.caution ? element("p", { class: "caution" }, "Caution: " + r.caution) : "")));
}

// drawSent shows the result of a request that was sent from this page.
function drawSent(id) {
  const sent = state.sent.get(id);
  at("sent").hidden = !sent;
  if (!sent) return;
  at("sent-line").replaceChildren(sent.command ? copyable("same request with curl", sent.command) : "");
  at("sent-body").textContent = sent.body ?? "";
}

// copyable shows a text with a button that copies it, or selects it if the browser does not allow copying.
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
