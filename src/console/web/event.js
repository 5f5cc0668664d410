// One event, from its delivery to what became of it.

import { get, post } from "./api.js";
import { askReason, facts, h, link, say, state, svg, table, verbatim } from "./dom.js";
import { may } from "./may.js";
import { exact, span, when } from "./time.js";

const WIDTH = 1000;
const ROW = 26;

/** The steps of a delivery: when each began, how long it took, what came of it. */
function steps(event, jobs) {
  const at = (text) => Date.parse(text);
  const all = [
    { name: "occurred at the vendor", from: at(event.occurred_at), mark: true, before: true },
    { name: "received and stored", from: at(event.received_at), mark: true },
  ];
  for (const { job, attempts, dead_letter, result } of jobs) {
    const route = `${job.route}: `;
    all.push({ name: `${route}job made`, from: at(job.created_at), mark: true });
    for (const attempt of attempts) {
      all.push({
        name: `${route}attempt ${attempt.number}`,
        from: at(attempt.started_at),
        took: attempt.duration_ms,
        outcome: attempt.outcome,
        detail: attempt.error,
      });
    }
    if (dead_letter) all.push({ name: `${route}dead letter`, from: at(dead_letter.at), mark: true, outcome: "deadletter", detail: dead_letter.detail });
    if (job.state === "succeeded") {
      const post = result?.post_id ? `WordPress post ${result.post_id}` : "done";
      all.push({ name: `${route}${post}`, from: at(job.finished_at ?? job.updated_at), mark: true, outcome: "succeeded" });
    }
  }
  return all.sort((a, b) => a.from - b.from);
}

/** The steps as a picture: bars on one axis of time. What happened long before the delivery has no place on it. */
function picture(all) {
  const shown = all.filter((step) => !step.before);
  const first = Math.min(...shown.map((step) => step.from));
  const last = Math.max(...shown.map((step) => step.from + (step.took ?? 0)), first + 1);
  const x = (time) => 4 + ((time - first) / (last - first)) * (WIDTH - 8);
  return svg(
    "svg",
    { class: "trace", viewBox: `0 0 ${WIDTH} ${shown.length * ROW + 20}`, "aria-hidden": "true", focusable: "false" },
    shown.map((step, row) => {
      const left = x(step.from);
      const onLeft = left > WIDTH * 0.6;
      const width = Math.max(x(step.from + (step.took ?? 0)) - left, 5);
      const label = step.took === undefined ? step.name : `${step.name}, ${span(step.took / 1000)}`;
      return svg(
        "g",
        {},
        svg("line", { class: "rule", x1: 0, x2: WIDTH, y1: row * ROW + ROW, y2: row * ROW + ROW }),
        svg("rect", { class: `bar-${step.outcome ?? "plain"}`, x: left, y: row * ROW + 6, width, height: ROW - 12, rx: 2 }),
        svg("text", { x: onLeft ? left - 6 : left + width + 6, y: row * ROW + 17, "text-anchor": onLeft ? "end" : "start" }, label),
      );
    }),
    svg("text", { class: "axis", x: 4, y: shown.length * ROW + 15 }, exact(new Date(first).toISOString())),
    svg("text", { class: "axis", x: WIDTH - 4, y: shown.length * ROW + 15, "text-anchor": "end" }, `+ ${span((last - first) / 1000)}`),
  );
}

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
          h("span", {}, step.name, step.took !== undefined && ` took ${span(step.took / 1000)}`),
          step.outcome && state(step.outcome),
          step.detail && h("span", { class: "why" }, step.detail),
        ),
      ),
    ),
  );
}

function payload(detail) {
  if (detail.withheld) return h("p", { class: "none" }, "Your role sees no payloads.");
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
  const render = async () => {
    const detail = await get(`events/${id}`);
    const jobs = await Promise.all(detail.jobs.map((job) => get(`jobs/${job.id}`)));
    const row = detail.event;
    const open = main.querySelector("details")?.open ?? false;
    main.replaceChildren(
      h("h1", { tabindex: -1 }, row.event_type),
      facts([
        ["State", state(row.status)],
        ["Source", `${row.tenant}/${row.source} (${row.vendor})`],
        ["Subject", row.subject_id],
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
      ...(row.status === "quarantined" && may.operate() ? [h("div", { class: "buttons" }, h("button", { class: "main", onclick: () => release(id, again) }, "Release"))] : []),
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
      h("details", { open }, h("summary", {}, h("h2", {}, "Payload")), payload(detail)),
    );
  };
  const again = () => render().catch((error) => say(error.message, true));
  await render();
  return again;
}

export async function job(main, id) {
  const render = async () => {
    const { job, attempts, result, dead_letter } = await get(`jobs/${id}`);
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
    main.replaceChildren(
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
              job.state === "deadletter" && h("button", { class: "main", onclick: act("Replay", "retry", "Replay this dead letter?", "It comes back behind fresh work.") }, "Replay"),
              !over && h("button", { onclick: act("Cancel", "cancel", "Cancel this job?", "What an attempt does meanwhile is not taken back; its result is dropped.") }, "Cancel the job"),
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
    );
  };
  const again = () => render().catch((error) => say(error.message, true));
  await render();
  return again;
}
