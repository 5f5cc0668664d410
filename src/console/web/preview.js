// What a route's prompt makes of an event, without publishing it.

import { get, post } from "./api.js";
import { askReason, h, say, verbatim } from "./dom.js";
import { span } from "./time.js";

/** The section of an event's page; null where no route of its source summarises. */
export async function preview(event) {
  const source = await get(`sources/${event.tenant}/${event.source}`).catch(() => null);
  const routes = source?.routes.filter((route) => route.action === "summarize_and_publish") ?? [];
  if (routes.length === 0) return null;
  const route = h("select", { id: "preview-route" }, routes.map(({ name }) => h("option", { value: name }, name)));
  const out = h("div", { role: "status" });
  const buttons = [];
  const run = async (ask_model, reason) => {
    for (const button of buttons) button.disabled = true;
    out.replaceChildren(h("p", { class: "waits" }, ask_model ? "The model is asked …" : "…"));
    try {
      const found = await post(`events/${event.id}/preview`, { route: route.value, ask_model, reason });
      out.replaceChildren(
        ...(found.problem ? [h("p", { class: "bad" }, `No answer: ${found.problem}`)] : []),
        ...(found.answer
          ? [
              h("h3", {}, `What ${found.model} answered, in ${span(found.took_ms / 1000)}`),
              h("div", { class: "answer" }, h("p", { class: "title" }, found.answer.title), h("p", { class: "text" }, found.answer.summary), h("p", { class: "hint" }, `It calls the event: ${found.answer.category}`)),
            ]
          : []),
        h("h3", {}, `What ${found.model} ${ask_model ? "was" : "would be"} asked`),
        verbatim("Instructions", found.system),
        verbatim("The event, as the model gets it", found.user),
      );
    } catch (error) {
      out.replaceChildren(h("p", { class: "bad" }, error.message));
      say(error.message, true);
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  };
  const ask = async () => {
    const reason = await askReason("Ask the model?", "It costs the tokens of one job, and counts against the limits of the model's credential. Nothing is published or kept.", "Ask");
    if (reason !== null) await run(true, reason);
  };
  buttons.push(h("button", { onclick: () => run(false, "") }, "Show the prompt"), h("button", { class: "main", onclick: ask }, "Ask the model"));
  return h(
    "section",
    { class: "panel", "aria-labelledby": "preview-title" },
    h("h2", { id: "preview-title" }, "Prompt preview"),
    h("p", {}, "Runs this event through a route's prompt. Nothing is published, no result is kept; asking the model costs tokens."),
    h("div", { class: "filter" }, h("div", { class: "field" }, h("label", { for: "preview-route" }, "Route"), route), h("div", { class: "buttons" }, buttons)),
    out,
  );
}
