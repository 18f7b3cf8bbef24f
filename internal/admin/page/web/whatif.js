// This module explains how the selected request would have been handled with other settings.

import { get, post } from "./api.js";
import { element, outcomeClass } from "./draw.js";
import { drawStages } from "./stages.js";
import { at, state } from "./state.js";

const settingNames = {
  "authentication.x509.clientCAFile": "client CA",
  "authentication.webhook.enabled": "token authentication",
  "authentication.anonymous.enabled": "anonymous",
  "authorization.mode": "authorization",
};
const valueText = value => ({ true: "on", false: "off", "": "none" })[value] ?? value.split("/").pop();

const introduction = "Change a setting to see how the kubelet would have handled this request. Nothing is sent.";

// drawSettings shows the settings that the user can change for a decision.
export async function drawSettings(decision) {
  const section = at("whatif");
  at("whatif-result").textContent = introduction;
  at("settings").replaceChildren();
  section.hidden = true;
  if (!state.can.whatIf || decision.handshake || decision.noRequest || !decision.authentication?.length) return;
  const drawing = state.drawing;
  let settings;
  try {
    ({ settings } = await get(`/api/decisions/${decision.id}/settings`));
  } catch {
    return;
  }
  if (drawing !== state.drawing) return;
  const selects = settings.map(selectFor);
  at("settings").replaceChildren(...selects.map(s => element("label", {}, settingNames[s.dataset.field] ?? s.dataset.field, s)));
  for (const s of selects) s.addEventListener("change", () => update(decision, selects));
  section.hidden = false;
}

function selectFor({ field, values }) {
  const select = element("select", { id: "set-" + field, title: field, disabled: values.length < 2 },
    ...values.map((value, i) => element("option", { value }, valueText(value) + (i === 0 ? " (current)" : ""))));
  select.dataset.field = field;
  return select;
}

// update shows the explanation with the selected settings.
async function update(decision, selects) {
  const drawing = ++state.drawing;
  const set = {};
  for (const s of selects) {
    const changed = s.selectedIndex > 0;
    s.classList.toggle("changed", changed);
    if (changed) set[s.dataset.field] = s.value;
  }
  const actual = decision.explanation;
  if (Object.keys(set).length === 0) {
    at("whatif-result").textContent = introduction;
    drawStages(actual);
    return;
  }
  try {
    const { whatIf } = await post("/api/whatif", { decision: decision.id, set });
    if (drawing !== state.drawing) return;
    drawStages(actual, whatIf);
    const same = whatIf.outcome === actual.outcome && whatIf.status === actual.status;
    const word = element("span", { class: "word" }, `${whatIf.status} ${whatIf.outcome}`);
    at("whatif-result").replaceChildren(
      same ? "Same result: " : `Instead of ${actual.status} ${actual.outcome}: `,
      element("span", { class: outcomeClass(whatIf.outcome) }, word),
      "; " + whatIf.reason);
  } catch (err) {
    if (drawing !== state.drawing) return;
    at("whatif-result").replaceChildren(element("span", { class: "problem" }, err.message));
    drawStages(actual);
  }
}
