// What is kept of one subject: found, exported, erased.

import { download, get, post } from "./api.js";
import { field, h, keepFocus, link, maker, say, state, table } from "./dom.js";
import { may } from "./may.js";
import { age, exact, when } from "./time.js";

/** The address of a subject's page. */
export const subjectAt = (tenant, subject) => `#/subjects?${new URLSearchParams({ tenant, subject })}`;

const reason = (id) => field(id, "Why, for the audit", h("input", { id, name: "reason", required: true, maxlength: 500, autocomplete: "off" }));
const many = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;

function search(values) {
  const tenants = may.tenants();
  const form = h(
    "form",
    {
      class: "filter",
      role: "search",
      onsubmit: (submit) => {
        submit.preventDefault();
        const { tenant, subject } = Object.fromEntries(new FormData(form));
        location.hash = subjectAt(tenant, subject);
      },
    },
    field(
      "subject-tenant",
      "Tenant",
      tenants
        ? h("select", { id: "subject-tenant", name: "tenant" }, tenants.map((name) => h("option", { value: name, selected: name === values.tenant }, name)))
        : h("input", { id: "subject-tenant", name: "tenant", required: true, maxlength: 64, autocomplete: "off", value: values.tenant }),
    ),
    field("subject-id", "Subject", h("input", { id: "subject-id", name: "subject", required: true, maxlength: 4096, autocomplete: "off", placeholder: "cus_42", value: values.subject })),
    h("div", { class: "buttons" }, h("button", { class: "main" }, "Look")),
  );
  return form;
}

const panel = (id, title, detail, ...children) => h("section", { class: "panel", "aria-labelledby": id }, h("h2", { id }, title), h("p", {}, detail), ...children);

function exporting({ tenant, subject }, again) {
  const send = async (said) => {
    const text = await download(`tenants/${encodeURIComponent(tenant)}/subjects/export`, { subject, reason: said.reason });
    // The status came before the events: only the last line tells that these are all.
    const last = JSON.parse(text.trimEnd().split("\n").at(-1));
    if (!last.end) throw new Error(`The export broke off: ${last.error}`);
    const url = URL.createObjectURL(new Blob([text], { type: "application/x-ndjson" }));
    // The file's name goes into histories of downloads: the subject does not.
    h("a", { href: url, download: `${tenant}-subject-${new Date().toISOString().slice(0, 10)}.ndjson` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    say(`${many(last.events, "event")} exported.`);
    await again();
  };
  const detail = "A file with a line of JSON for each event: its payload, forms, jobs and what they produced. Keep it as what it is: personal data.";
  return panel("export-title", "Export", detail, maker([reason("export-reason")], h("button", { class: "main" }, "Export"), send));
}

function erasing({ tenant, subject }, again) {
  const path = `tenants/${encodeURIComponent(tenant)}/subjects/erase`;
  const counted = h("p", { id: "would-erase", role: "status" });
  const done = h("div", { role: "status" });
  const button = h("button", { class: "main", disabled: true }, "Erase for good");
  let isCounted = false;
  const typed = h("input", { id: "erase-subject", name: "typed", required: true, autocomplete: "off", "aria-describedby": "erase-subject-hint" });
  const count = async () => {
    try {
      const would = await post(path, { subject, dry_run: true });
      counted.replaceChildren(`${many(would.matched, "event")} would be erased and ${many(would.cancelled_jobs, "job")} cancelled; nothing is changed yet.`);
      isCounted = would.matched > 0;
      form.dispatchEvent(new Event("input"));
    } catch (error) {
      say(error.message, true);
    }
  };
  const send = async (said) => {
    const erased = await post(path, { subject, reason: said.reason });
    isCounted = false;
    counted.replaceChildren();
    done.replaceChildren(h("p", {}, `${many(erased.erased, "event")} erased, ${many(erased.cancelled_jobs, "job")} cancelled.${erased.left ? ` ${many(erased.left, "event")} got another job meanwhile and ${erased.left === 1 ? "is" : "are"} left: count again.` : ""}`));
    await again();
  };
  const form = maker([reason("erase-reason"), field("erase-subject", "Type the subject's id", typed, "It cannot be undone.")], button, send);
  form.addEventListener("input", () => {
    button.disabled = !(isCounted && typed.value === subject && form.elements.reason.value.trim() !== "");
  });
  const detail = "Its events go for good, with payloads, forms, jobs, results and dead letters; jobs that could still run are cancelled first. What jobs sent to others, and backups, are not touched.";
  return panel("erase-title", "Erase", detail, h("div", { class: "buttons" }, h("button", { onclick: count }, "Count what would go"), counted), form, done);
}

function eventRows({ tenant, subject }, page) {
  const rows = page.items.map((row) => [link(`#/event/${row.id}`, row.event_type), `${row.tenant}/${row.source}`, state(row.status), h("td", { class: "id" }, row.external_id), when(row.received_at)]);
  return [
    table("The subject's newest events", ["Type", "Source", "State", "Vendor's id", "Received"], rows, "Nothing is kept of this subject."),
    ...(page.next ? [h("p", {}, link(`#/events?${new URLSearchParams({ tenant, subject })}`, "All its events"))] : []),
  ];
}

function actRows(lines) {
  const rows = lines.map((line) => [exact(line.at), line.actor, line.action, h("td", { class: "id" }, line.object), h("td", { class: "why" }, line.reason)]);
  return table("Acts on the tenant's subjects, newest first", ["When", "Who", "What", "On what", "Why"], rows, "Nothing was done yet.");
}

async function show(main, values) {
  const head = [
    h("h1", { tabindex: -1 }, "Subjects"),
    h("p", { class: "lead" }, "All that is kept of one customer, thread or order, by the id that its events name. For a person who asks what is known of them, or to be forgotten."),
    search(values),
  ];
  if (!values.tenant || !values.subject) {
    main.replaceChildren(...head);
    return null;
  }
  const { tenant, subject } = values;
  const events = h("div", {});
  const audit = h("div", {});
  let last = null;
  const again = async () => {
    const acts = ["subject.export", "subject.erase", "subject.erased"].map((action) => get("audit", { tenant, action, limit: 10 }));
    const [page, ...pages] = await Promise.all([get("events", { tenant, subject, limit: 20 }), ...acts]);
    const lines = pages.flatMap((page) => page.items).sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
    const text = JSON.stringify([page, lines]);
    if (text === last) {
      age(events);
      return;
    }
    last = text;
    keepFocus(events, () => events.replaceChildren(...eventRows(values, page)));
    audit.replaceChildren(actRows(lines));
  };
  await again();
  main.replaceChildren(
    ...head,
    h("h2", {}, "Its events"),
    events,
    h("h2", {}, "Act"),
    exporting(values, again),
    erasing(values, again),
    h("h2", {}, "What was done to subjects of this tenant"),
    h("p", { class: "lead" }, "The audit names a subject by a digest: it outlives the erasure, the id does not."),
    audit,
  );
  return () => again().catch((error) => say(error.message, true));
}

export const subjects = { name: "subjects", title: "Subjects", show };
