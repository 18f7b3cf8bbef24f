// This module sends requests on behalf of the clients of a demo.

import { get, post } from "./api.js";
import { element } from "./draw.js";
import { at, state } from "./state.js";

// maxSent is the number of sent requests whose results the page keeps.
const maxSent = 50;

// prepareSending shows the form if the server can send requests.
export async function prepareSending() {
  if (!state.can.send) return;
  const { clients } = await get("/api/clients");
  const descriptions = Object.fromEntries(clients.map(c => [c.name, c.description]));
  const select = at("send-client");
  select.replaceChildren(...clients.map(c => element("option", { value: c.name }, c.name)));
  const describe = () => { at("send-description").textContent = descriptions[select.value] ?? ""; };
  select.addEventListener("change", describe);
  describe();
  at("send").addEventListener("submit", send);
  at("send").hidden = false;
}

async function send(event) {
  event.preventDefault();
  const button = at("send-button");
  button.disabled = true;
  at("send-problem").textContent = "";
  const request = { client: at("send-client").value, method: at("send-method").value, path: at("send-path").value.trim() };
  try {
    const result = await post("/api/send", request);
    if (result.decision) {
      state.sent.set(result.decision, result);
      if (state.sent.size > maxSent) state.sent.delete(state.sent.keys().next().value);
      location.hash = "#" + result.decision;
    }
  } catch (err) {
    at("send-problem").textContent = err.message;
  } finally {
    button.disabled = false;
  }
}
