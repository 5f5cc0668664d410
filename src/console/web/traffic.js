// Rates, acknowledgements and backlog, minute by minute.

import { chart } from "./chart.js";
import { h } from "./dom.js";

const round = (value) => (Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2));
const perSecond = (value) => `${round(value)}/s`;
const milliseconds = (value) => (value >= 1000 ? `${round(value / 1000)} s` : `${round(value)} ms`);
const whole = (value) => (Number.isInteger(value) ? value.toLocaleString("en") : round(value));

/** The charts of these minutes. */
export const charts = (points) =>
  h(
    "div",
    { class: "charts" },
    chart(
      "Deliveries a second",
      points,
      [
        { name: "new events", colour: "c-cool", of: (point) => point.events / point.seconds },
        { name: "refused", colour: "c-bad", of: (point) => point.refused / point.seconds },
      ],
      perSecond,
    ),
    chart(
      "Time to acknowledge",
      points,
      [
        { name: "half within", colour: "c-good", of: (point) => point.ack_p50_ms },
        { name: "95 % within", colour: "c-cool", of: (point) => point.ack_p95_ms },
        { name: "99 % within", colour: "c-warn", of: (point) => point.ack_p99_ms },
      ],
      milliseconds,
    ),
    chart("Jobs that wait or run", points, [{ name: "jobs", colour: "c-cool", of: (point) => point.waiting }], whole),
    chart(
      "Attempts a second",
      points,
      [
        { name: "delivered", colour: "c-good", of: (point) => point.succeeded / point.seconds },
        { name: "again later", colour: "c-warn", of: (point) => point.failed / point.seconds },
        { name: "dead letters", colour: "c-bad", of: (point) => point.dead / point.seconds },
      ],
      perSecond,
    ),
  );

export const traffic = {
  name: "traffic",
  title: "Traffic",
  lead: "Minute by minute, of all nodes; the last minute still runs and is this node's own. Times are UTC.",
  path: "traffic",
  fields: [
    { name: "tenant", label: "Tenant" },
    { name: "source", label: "Source" },
    { name: "minutes", label: "How far back", options: ["60", "180", "360"], words: { 60: "an hour", 180: "three hours", 360: "six hours" }, none: "an hour" },
  ],
  read: (found) => ({ items: found.points, next: null }),
  rows: (points) => charts(points),
};
