// One event, from its delivery to what became of it.

import { get, post } from "./api.js";
import { askReason, facts, h, keepFocus, link, say, state, svg, table, verbatim } from "./dom.js";
import { may } from "./may.js";
import { preview } from "./preview.js";
import { subjectAt } from "./subjects.js";
import { age, exact, span, when } from "./time.js";

const WIDTH = 1000;
const ROW = 26;

/** The steps of a delivery: when each began, what it waited for before, how long it took, what came of it. */
function steps(event, jobs) {
  const at = (text) => Date.parse(text);
  const all = [
    { name: "occurred at the vendor", from: at(event.occurred_at), mark: true, before: true },
    { name: "received and stored", from: at(event.received_at), mark: true },
  ];
  for (const { job, attempts, dead_letter, result } of jobs) {
    const route = `${job.route}: `;
    const over = job.finished_at ?? (["succeeded", "deadletter", "superseded", "cancelled"].includes(job.state) ? job.updated_at : null);
    all.push({ name: `${route}job made`, from: at(job.created_at), mark: true });
    // What it waits for is its lane, its limits and, after a failure, its next moment.
    let free = at(job.created_at);
    for (const attempt of attempts) {
      const from = at(attempt.started_at);
      all.push({ name: `${route}attempt ${attempt.number}`, waited: from - free, from, took: attempt.duration_ms, outcome: attempt.outcome, detail: attempt.error });
      free = Math.max(from, from + attempt.duration_ms);
    }
    if (over === null) all.push({ name: `${route}${job.state === "running" ? "an attempt runs" : "waits"}`, from: free, took: Math.max(Date.now() - free, 0), outcome: "waiting", detail: job.last_error });
    if (dead_letter) all.push({ name: `${route}dead letter`, from: at(dead_letter.at), mark: true, outcome: "deadletter", detail: dead_letter.detail });
    if (job.state === "succeeded") {
      const post = result?.post_id ? `WordPress post ${result.post_id}` : "done";
      all.push({ name: `${route}${post}`, from: at(over), mark: true, outcome: "succeeded" });
    }
    if (job.state === "superseded" || job.state === "cancelled") all.push({ name: `${route}${job.state}`, from: at(over), mark: true, outcome: job.state });
  }
  // Those of one moment stay in the order in which one follows from the other.
  return all.map((step, nth) => ({ step, nth })).sort((a, b) => a.step.from - b.step.from || a.nth - b.nth).map(({ step }) => step);
}

/** The steps as a picture: bars on one axis of time, pale for what they waited. What happened long before the delivery has no place on it. */
function picture(all) {
  const shown = all.filter((step) => !step.before);
  const first = Math.min(...shown.map((step) => step.from));
  const last = Math.max(...shown.map((step) => step.from + (step.took ?? 0)), first + 1);
  const x = (time) => 4 + ((time - first) / (last - first)) * (WIDTH - 8);
  const height = shown.length * ROW;
  return svg(
    "svg",
    { class: "trace", viewBox: `0 0 ${WIDTH} ${height + 20}`, "aria-hidden": "true", focusable: "false" },
    [0.25, 0.5, 0.75].map((share) => svg("line", { class: "rule", x1: share * WIDTH, x2: share * WIDTH, y1: 0, y2: height })),
    shown.map((step, row) => {
      const left = x(step.from);
      const waits = step.waited > 0 ? x(step.from - step.waited) : left;
      const width = Math.max(x(step.from + (step.took ?? 0)) - left, 5);
      // Beside its bar where there is room, else in it.
      const place =
        width > WIDTH * 0.45
          ? { class: "in", x: left + 8 }
          : left + width < WIDTH * 0.6
            ? { x: left + width + 6 }
            : { x: Math.min(left, WIDTH) - 6, "text-anchor": "end" };
      return svg(
        "g",
        {},
        svg("line", { class: "rule", x1: 0, x2: WIDTH, y1: row * ROW + ROW, y2: row * ROW + ROW }),
        left - waits > 1 && svg("rect", { class: "bar-wait", x: waits, y: row * ROW + 10, width: left - waits, height: ROW - 20 }),
        svg("rect", { class: `bar-${step.outcome ?? "plain"}`, x: left, y: row * ROW + 6, width, height: ROW - 12, rx: 2 }),
        svg("text", { ...place, y: row * ROW + 17 }, `${step.name}${lasted(step)}`),
      );
    }),
    svg("text", { class: "axis", x: 4, y: height + 15 }, exact(new Date(first).toISOString())),
    svg("text", { class: "axis", x: WIDTH - 4, y: height + 15, "text-anchor": "end" }, `+ ${span((last - first) / 1000)}`),
  );
}

const lasted = (step) => (step.took === undefined ? "" : `, ${step.waited > 0 ? `waited ${span(step.waited / 1000)}, ` : ""}took ${span(step.took / 1000)}`);

function timeline(event, jobs) {
  const all = steps(event, jobs);
  return h(
    "section",
    { "aria-labelledby": "timeline" },
    h("h2", { id: "timeline" }, "Timeline"),
    picture(all),
    h(
      "ol",
      { class: "steps" },
      all.map((step) =>
        h(
          "li",
          {},
          h("span", { class: "at" }, exact(new Date(step.from).toISOString())),
          h("span", {}, `${step.name}${lasted(step)}`),
          step.outcome && state(step.outcome),
          step.detail && h("span", { class: "why" }, step.detail),
        ),
      ),
    ),
  );
}

function payload(detail) {
  if (detail.withheld) return h("p", { class: "none" }, "Your role sees no payloads.");
  if (detail.erased) return h("p", { class: "none" }, "It was erased with the key of its tenant.");
  const pretty = (value) => JSON.stringify(value, null, 2);
  let raw = detail.raw;
  try {
    raw = pretty(JSON.parse(detail.raw));
  } catch {
    // Not JSON: as it is.
  }
  return [
    h("p", {}, detail.redacted ? "Redacted before it was stored." : "As the vendor sent it; redaction found nothing."),
    h("h3", {}, "Body"),
    raw === null ? h("p", { class: "none" }, "It is gone (retention), or no text.") : verbatim("Body", raw),
    h("h3", {}, "Headers"),
    detail.headers === null ? h("p", { class: "none" }, "None are kept.") : verbatim("Headers", pretty(detail.headers)),
    detail.forms.map(([version, form]) => [h("h3", {}, `Normalised, version ${version}`), verbatim(`Form ${version}`, pretty(form))]),
  ];
}

async function release(id, again) {
  const reason = await askReason("Release this event?", "It is normalised anew and its routes run.", "Release");
  if (reason === null) return;
  try {
    const done = await post(`events/${id}/release`, { reason });
    say(`Released, ${done.jobs} jobs.${done.misfit ? ` It still does not fit its schema: ${done.misfit}` : ""}`);
  } catch (error) {
    say(error.message, true);
  }
  await again();
}

export async function event(main, id) {
  const body = h("div", {});
  let last = null;
  const render = async () => {
    const detail = await get(`events/${id}`);
    const jobs = await Promise.all(detail.jobs.map((job) => get(`jobs/${job.id}`)));
    const text = JSON.stringify([detail, jobs]);
    if (text === last) {
      age(body);
      return;
    }
    last = text;
    const row = detail.event;
    const open = body.querySelector("details")?.open ?? false;
    keepFocus(body, () => body.replaceChildren(
      h("h1", { tabindex: -1 }, row.event_type),
      facts([
        ["State", state(row.status)],
        ["Source", `${row.tenant}/${row.source} (${row.vendor})`],
        ["Subject", row.subject_id && (may.manage() ? h("span", {}, row.subject_id, " (", link(subjectAt(row.tenant, row.subject_id), "export or erase"), ")") : row.subject_id)],
        ["Received", h("span", {}, exact(row.received_at), " (", when(row.received_at), ")")],
        ["Occurred", exact(row.occurred_at)],
        ["Vendor's id", row.external_id],
        ["Event", row.id],
        ["Trace", link(`#/events?trace_id=${row.trace_id}`, row.trace_id)],
        ["Verified by", row.secret_version],
        ["Vendor's version", row.api_version],
        ["Revises", row.revises && link(`#/event/${row.revises}`, row.revises)],
        ["Quarantined", detail.quarantine_reason],
      ]),
      ...(row.status === "quarantined" && may.operate() ? [h("div", { class: "buttons" }, h("button", { class: "main", "data-key": "release", onclick: () => release(id, again) }, "Release"))] : []),
      timeline(row, jobs),
      h("h2", {}, "Jobs"),
      table(
        "Jobs of this event",
        ["Job", "Route", "State", "Attempts", "Next", "Last error"],
        detail.jobs.map((job) => [
          link(`#/job/${job.id}`, job.type),
          job.route,
          state(job.state),
          String(job.attempts),
          ["pending", "failed"].includes(job.state) ? when(job.next_run_at) : "–",
          h("td", { class: "why" }, job.last_error ?? ""),
        ]),
        "No route took this event.",
      ),
      h("details", { open }, h("summary", { "data-key": "payload" }, h("h2", {}, "Payload")), payload(detail)),
    ));
    return row;
  };
  const again = () => render().catch((error) => say(error.message, true));
  const row = await render();
  // It stands beside what is looked at again: an answer is not taken away.
  const asked = may.operate() && (await preview(row));
  main.replaceChildren(...[body, asked].filter(Boolean));
  return again;
}

/** Where what a job kept is opened: each address leads to a fresh URL, and is written into the audit. */
function files(keys) {
  if (!may.operate() || keys.length === 0) return [];
  const item = (key) => {
    const [, kind, , id] = key.split("/");
    return h("li", {}, h("a", { href: `/api/v1/artifacts/${id}`, target: "_blank", rel: "noopener noreferrer" }, `${kind}: ${id}`));
  };
  return [h("h2", {}, "Files"), h("ul", {}, ...keys.map(item))];
}

export async function job(main, id) {
  let last = null;
  const render = async () => {
    const found = await get(`jobs/${id}`);
    const text = JSON.stringify(found);
    if (text === last) {
      age(main);
      return;
    }
    last = text;
    const { job, attempts, result, dead_letter } = found;
    const act = (verb, path, title, detail) => async () => {
      const reason = await askReason(title, detail, verb);
      if (reason === null) return;
      try {
        await post(`jobs/${id}/${path}`, { reason });
        say(`${verb} is done.`);
      } catch (error) {
        say(error.message, true);
      }
      await again();
    };
    const over = ["succeeded", "superseded", "cancelled", "deadletter"].includes(job.state);
    keepFocus(main, () => main.replaceChildren(
      h("h1", { tabindex: -1 }, `${job.type} for ${job.event_type}`),
      facts([
        ["State", state(job.state)],
        ["Lane", `${job.tenant}/${job.source}`],
        ["Route", job.route],
        ["Event", link(`#/event/${job.event_id}`, job.event_id)],
        ["Job", job.id],
        ["Trace", link(`#/jobs?trace_id=${job.trace_id}`, job.trace_id)],
        ["Made", exact(job.created_at)],
        ["Next attempt", ["pending", "failed"].includes(job.state) ? when(job.next_run_at) : null],
        ["Finished", job.finished_at && exact(job.finished_at)],
        ["Last error", job.last_error],
        ["Dead because", dead_letter && `${dead_letter.reason}: ${dead_letter.detail}`],
        ["Replayed", dead_letter?.replayed_at && `${exact(dead_letter.replayed_at)} by ${dead_letter.replayed_by}`],
      ]),
      ...(may.operate()
        ? [
            h(
              "div",
              { class: "buttons" },
              job.state === "deadletter" && h("button", { class: "main", "data-key": "replay", onclick: act("Replay", "retry", "Replay this dead letter?", "It comes back behind fresh work.") }, "Replay"),
              !over && h("button", { "data-key": "cancel", onclick: act("Cancel", "cancel", "Cancel this job?", "What an attempt does meanwhile is not taken back; its result is dropped.") }, "Cancel the job"),
            ),
          ]
        : []),
      h("h2", {}, "Attempts"),
      table(
        "Attempts, oldest first",
        ["Number", "Began", "Took", "Outcome", "Error"],
        attempts.map((attempt) => [String(attempt.number), exact(attempt.started_at), span(attempt.duration_ms / 1000), state(attempt.outcome), h("td", { class: "why" }, attempt.error ?? "")]),
        "Not tried yet.",
      ),
      ...(result ? [h("h2", {}, "Result"), verbatim("Result", JSON.stringify(result, null, 2))] : []),
      ...files(result?.artifacts ?? []),
    ));
  };
  const again = () => render().catch((error) => say(error.message, true));
  await render();
  return again;
}
