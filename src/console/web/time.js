// Times as people read them.

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
  ["s", 1],
];

/** A number of seconds in one unit. */
export function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  const [unit, size] = UNITS.find(([, size]) => seconds >= size);
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** A moment as how long ago or ahead it is, the whole of it in the title. */
export function when(text) {
  if (!text) return "–";
  const time = document.createElement("time");
  time.dateTime = text;
  time.title = text;
  tick(time);
  return time;
}

function tick(time) {
  const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
  time.textContent = Math.abs(seconds) < 1 ? "now" : seconds < 0 ? `in ${span(-seconds)}` : `${span(seconds)} ago`;
}

/** Tells the times below `element` anew. */
export const age = (element) => element.querySelectorAll("time").forEach(tick);

/** A moment to the millisecond. */
export const exact = (text) => (text ? text.replace("T", " ").replace("Z", "") : "–");

/** Fields of a filter by time. */
export const TIMES = [
  { name: "since", label: "Since", hint: "2026-11-28T08:00Z" },
  { name: "until", label: "Before", hint: "2026-11-28T09:00Z" },
];
