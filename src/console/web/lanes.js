// Lanes at a glance, worst first: state, why, since when, next probe.

import { post } from "./api.js";
import { askReason, h, say, state, table } from "./dom.js";
import { may } from "./may.js";
import { when } from "./time.js";

const count = (lane, word) => lane.backlog?.jobs.find(([name]) => name === word)?.[1] ?? 0;

function why(lane) {
  const open = lane.snapshot?.breakers.find((breaker) => breaker.state !== "closed");
  return lane.snapshot?.reason ?? (open ? `breaker of ${open.callee} is ${open.state.replace("_", " ")}` : "");
}

function actions(lane, again) {
  const name = `${lane.lane.tenant}/${lane.lane.source}`;
  const act = (verb, detail) => async () => {
    const reason = await askReason(`${verb} ${name}?`, detail, verb);
    if (reason === null) return;
    try {
      await post(`lanes/${name}/${verb.toLowerCase()}`, { reason });
      say(`${name}: ${verb.toLowerCase()} is done.`);
    } catch (error) {
      say(error.message, true);
    }
    await again();
  };
  const button = (verb, detail) => h("button", { "aria-label": `${verb} ${name}`, "data-key": `${verb} ${name}`, onclick: act(verb, detail) }, verb);
  return h(
    "div",
    { class: "acts" },
    ["paused", "parked"].includes(lane.state)
      ? button("Resume", "Its jobs begin again.")
      : button("Pause", "Deliveries are still taken; no job begins until it is resumed."),
    lane.state === "held" && button("Probe", "The next call goes now, to see whether the callee is back."),
  );
}

export const lanes = {
  name: "lanes",
  title: "Lanes",
  lead: "Worst first. A lane is a tenant's source with its limits, its breakers and its queue.",
  path: "lanes",
  fields: [
    { name: "name", label: "Name", hint: "acme/pay" },
    { name: "vendor", label: "Vendor", hint: "stripe" },
    { name: "state", label: "State", options: ["held", "parked", "unconfigured", "paused", "flowing", "asleep"] },
  ],
  rows: (items, again) =>
    table(
      "Lanes, worst first",
      ["Lane", "Vendor", "State", "Why", "Since", "Next probe", "Running", "Waiting", "Retrying", "Dead", "Oldest due", ...(may.operate() ? ["Act"] : [])],
      items.map((lane) => [
        h("a", { href: `#/jobs?tenant=${lane.lane.tenant}&source=${lane.lane.source}` }, `${lane.lane.tenant}/${lane.lane.source}`),
        lane.vendor,
        state(lane.state),
        h("td", { class: "why" }, why(lane), lane.owner && h("small", { title: `Node ${lane.owner} has this lane` }, ` at node ${lane.owner.slice(0, 8)}`)),
        when(lane.snapshot?.since),
        when(lane.next_probe),
        String(lane.snapshot?.in_flight.length ?? 0),
        String(count(lane, "pending")),
        String(count(lane, "failed")),
        count(lane, "deadletter") > 0
          ? h("a", { href: `#/dead?tenant=${lane.lane.tenant}&source=${lane.lane.source}` }, String(count(lane, "deadletter")))
          : "0",
        when(lane.backlog?.oldest_due),
        ...(may.operate() ? [actions(lane, again)] : []),
      ]),
      "No lane fits.",
    ),
};
