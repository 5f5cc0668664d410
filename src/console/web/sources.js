// Sources and their secrets, and who did what.

import { h, state, table } from "./dom.js";
import { exact, when } from "./time.js";

export const sources = {
  name: "sources",
  title: "Sources",
  lead: "Where vendors deliver. Secrets are named by their references; when each verified a delivery last tells whether a rotation is through.",
  path: "sources",
  fields: [{ name: "tenant", label: "Tenant" }],
  rows: (items) =>
    table(
      "Sources",
      ["Source", "Vendor", "State", "URL", "Routes", "Secrets"],
      items.map((source) => [
        `${source.tenant}/${source.source}`,
        source.vendor,
        state(source.enabled ? "enabled" : "disabled"),
        h("td", { class: "id" }, source.url),
        h("ul", {}, source.routes.map((route) => h("li", {}, `${route.name}: ${route.event_types.join(", ") || "all"} → ${route.action}`))),
        h("ul", {}, source.secrets.map((secret) => h("li", {}, secret.version, ", last used ", secret.last_used_at ? when(secret.last_used_at) : "never", secret.not_after && [", until ", when(secret.not_after)]))),
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
  ],
  rows: (items) =>
    table(
      "Acts, newest first",
      ["When", "Who", "What", "Tenant", "On what", "Why"],
      items.map((line) => [exact(line.at), line.actor, line.action, line.tenant ?? "–", h("td", { class: "id" }, line.object), h("td", { class: "why" }, line.reason)]),
      "Nothing was done.",
    ),
};
