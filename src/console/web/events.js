// Events, what is quarantined, what was refused.

import { h, link, state, table, verbatim } from "./dom.js";
import { TIMES, when } from "./time.js";

const WHERE = [
  { name: "tenant", label: "Tenant" },
  { name: "source", label: "Source" },
];

const event = (row) => [
  link(`#/event/${row.id}`, row.event_type),
  `${row.tenant}/${row.source}`,
  state(row.status),
  row.subject_id ?? "–",
  h("td", { class: "id" }, row.external_id),
  when(row.received_at),
];

export const events = {
  name: "events",
  title: "Events",
  path: "events",
  fields: [
    ...WHERE,
    { name: "type", label: "Type", hint: "invoice.*" },
    { name: "state", label: "State", options: ["stored", "unrouted", "quarantined", "released"] },
    { name: "subject", label: "Subject" },
    { name: "external_id", label: "Vendor's id" },
    { name: "trace_id", label: "Trace" },
    ...TIMES,
  ],
  rows: (items) => table("Events, newest first", ["Type", "Source", "State", "Subject", "Vendor's id", "Received"], items.map(event), "No event fits."),
};

export const quarantine = {
  name: "quarantine",
  title: "Quarantine",
  lead: "Authentic events that did not fit their schema. Nothing was run for them; release one once you know why.",
  path: "events",
  query: { state: "quarantined" },
  fields: WHERE,
  rows: (items) =>
    table(
      "Quarantined events, newest first",
      ["Type", "Source", "Why", "Vendor's id", "Received"],
      items.map((row) => [link(`#/event/${row.id}`, row.event_type), `${row.tenant}/${row.source}`, h("td", { class: "why" }, row.quarantine_reason ?? "–"), h("td", { class: "id" }, row.external_id), when(row.received_at)]),
      "Nothing is quarantined.",
    ),
};

export const refusals = {
  name: "refusals",
  title: "Refused deliveries",
  lead: "The newest of each source that did not verify or could not be read. A vendor sees the same answer for all of them; the reason is only here and in the log.",
  path: "refusals",
  fields: [...WHERE, ...TIMES],
  rows: (items) =>
    table(
      "Refused deliveries, newest first",
      ["Source", "Reason", "What was found", "From", "When", "Request"],
      items.map((row) => [
        `${row.tenant}/${row.source}`,
        state(row.reason),
        h("td", { class: "why" }, row.hint || "–"),
        row.peer,
        when(row.at),
        row.headers === null
          ? `${row.body_bytes} bytes`
          : h("details", {}, h("summary", {}, `${row.body_bytes} bytes`), verbatim("Request", `${row.request}\n${Object.entries(row.headers).map(([name, value]) => `${name}: ${value}`).join("\n")}\n\n${row.body}`)),
      ]),
      "No delivery was refused.",
    ),
};
