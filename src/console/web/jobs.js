// Jobs, and dead letters with their replay.

import { post } from "./api.js";
import { askReason, h, link, say, state, table } from "./dom.js";
import { may } from "./may.js";
import { TIMES, when } from "./time.js";

const WHERE = [
  { name: "tenant", label: "Tenant" },
  { name: "source", label: "Source" },
];

export const jobs = {
  name: "jobs",
  title: "Jobs",
  path: "jobs",
  fields: [
    ...WHERE,
    { name: "state", label: "State", options: ["pending", "running", "failed", "succeeded", "deadletter", "superseded", "cancelled"] },
    { name: "type", label: "Event type", hint: "invoice.*" },
    { name: "subject", label: "Subject" },
    { name: "external_id", label: "Vendor's id" },
    { name: "trace_id", label: "Trace" },
    ...TIMES,
  ],
  rows: (items) =>
    table(
      "Jobs, newest first",
      ["Job", "Event", "Source", "Route", "State", "Attempts", "Last error", "Changed"],
      items.map((job) => [
        link(`#/job/${job.id}`, job.type),
        link(`#/event/${job.event_id}`, job.event_type),
        `${job.tenant}/${job.source}`,
        job.route,
        state(job.state),
        String(job.attempts),
        h("td", { class: "why" }, job.last_error ?? ""),
        when(job.updated_at),
      ]),
      "No job fits.",
    ),
};

function replay(values) {
  if (!may.operate()) return null;
  const filter = Object.fromEntries(Object.entries(values).filter(([, value]) => value));
  const out = h("p", { id: "matched", role: "status" });
  const go = h("button", { class: "main", disabled: true }, "Replay them");
  let matched = 0;
  const dry = async () => {
    try {
      ({ matched } = await post("dead-letters/replay", { filter, dry_run: true }));
      out.textContent = matched === 1 ? "1 dead letter would be replayed." : `${matched} dead letters would be replayed.`;
      go.disabled = matched === 0;
    } catch (error) {
      out.textContent = error.message;
    }
  };
  go.addEventListener("click", async () => {
    const reason = await askReason(`Replay ${matched} dead letters?`, "They come back behind fresh work, ten a second.", "Replay");
    if (reason === null) return;
    try {
      const done = await post("dead-letters/replay", { filter, per_second: 10, reason });
      say(`${done.matched} dead letters are being replayed.`);
      go.disabled = true;
      out.textContent = "";
    } catch (error) {
      say(error.message, true);
    }
  });
  return h(
    "section",
    { class: "panel", "aria-labelledby": "replay-title" },
    h("h2", { id: "replay-title" }, "Replay"),
    h("p", {}, Object.keys(filter).length ? "All that the filter above finds, on every page of it." : "All dead letters: no filter is set."),
    h("div", { class: "buttons" }, h("button", { onclick: dry }, "Dry run"), go),
    out,
  );
}

export const dead = {
  name: "dead",
  title: "Dead letters",
  lead: "Jobs that will not be tried again by themselves.",
  path: "dead-letters",
  fields: [
    ...WHERE,
    { name: "route", label: "Route" },
    { name: "type", label: "Event type", hint: "invoice.*" },
    { name: "subject", label: "Subject" },
    { name: "reason", label: "Reason", options: ["retries_exhausted", "rejected", "invalid", "poison", "gone"] },
    ...TIMES,
  ],
  aside: replay,
  rows: (items) =>
    table(
      "Dead letters, newest first",
      ["Job", "Source", "Route", "Reason", "Detail", "Died", "Replayed"],
      items.map((letter) => [
        link(`#/job/${letter.job.id}`, letter.job.event_type),
        `${letter.job.tenant}/${letter.job.source}`,
        letter.job.route,
        state(letter.reason),
        h("td", { class: "why" }, letter.detail),
        when(letter.at),
        letter.replayed_at ? h("span", {}, when(letter.replayed_at), ` by ${letter.replayed_by}`) : "–",
      ]),
      "No dead letter fits.",
    ),
};

