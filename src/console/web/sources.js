// Sources and their secrets, and who did what.

import { post } from "./api.js";
import { askReason, h, link, say, state, table } from "./dom.js";
import { may } from "./may.js";
import { TIMES, exact, when } from "./time.js";

function act(source, again) {
  const name = `${source.tenant}/${source.source}`;
  const verb = source.enabled ? "Disable" : "Enable";
  const detail = source.enabled
    ? "Its deliveries are refused and none of its jobs begins; what came stays."
    : "Deliveries are taken again. A source that its file switches off stays off.";
  const press = async () => {
    const reason = await askReason(`${verb} ${name}?`, detail, verb);
    if (reason === null) return;
    try {
      await post(`sources/${name}/${verb.toLowerCase()}`, { reason });
      say(`${name}: ${verb.toLowerCase()} is done.`);
    } catch (error) {
      say(error.message, true);
    }
    await again();
  };
  return h("button", { "aria-label": `${verb} ${name}`, "data-key": `switch ${name}`, onclick: press }, verb);
}

export const sources = {
  name: "sources",
  title: "Sources",
  lead: "Where vendors deliver. Secrets are named by their references; a source's page tells which of them is still used.",
  path: "sources",
  fields: [{ name: "tenant", label: "Tenant" }],
  aside: () => may.operate() && h("p", {}, h("a", { class: "button", href: "#/add" }, "Add a source")),
  rows: (items, again) =>
    table(
      "Sources",
      ["Source", "Vendor", "State", "URL", "Routes", "Secrets", ...(may.operate() ? ["Act"] : [])],
      items.map((source) => [
        link(`#/source/${source.tenant}/${source.source}`, `${source.tenant}/${source.source}`),
        source.vendor,
        state(source.enabled ? "enabled" : "disabled"),
        h("td", { class: "id" }, source.url),
        h("ul", {}, source.routes.map((route) => h("li", {}, `${route.name}: ${route.event_types.join(", ") || "all"} → ${route.action}`))),
        h("ul", {}, source.secrets.map((secret) => h("li", {}, secret.version, ", last used ", secret.last_used_at ? when(secret.last_used_at) : "never", secret.not_after && [", until ", when(secret.not_after)], secret.standing === "safe_to_retire" && [" ", state("safe_to_retire")]))),
        ...(may.operate() ? [act(source, again)] : []),
      ]),
      "No source is configured.",
    ),
};

export const audit = {
  name: "audit",
  title: "Audit",
  path: "audit",
  fields: [
    { name: "tenant", label: "Tenant" },
    { name: "actor", label: "Who", hint: "user:ada" },
    { name: "action", label: "What", hint: "lane.pause" },
    { name: "object", label: "On what" },
    ...TIMES,
  ],
  rows: (items) =>
    table(
      "Acts, newest first",
      ["When", "Who", "What", "Tenant", "On what", "Why"],
      items.map((line) => [exact(line.at), line.actor, line.action, line.tenant ?? "–", h("td", { class: "id" }, line.object), h("td", { class: "why" }, line.reason)]),
      "Nothing was done.",
    ),
};
