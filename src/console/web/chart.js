// Lines over time, drawn by uPlot (uplot.js); below each the same as a table, for who does not see it.

import { h, table } from "./dom.js";

const drawn = new Set();
/** The charts whose table is open: they are drawn anew every few seconds. */
const opened = new Set();

/** Gives back what charts hold that are not shown any more. */
function sweep() {
  for (const plot of drawn) {
    if (plot.root.isConnected) continue;
    plot.destroy();
    drawn.delete(plot);
  }
}

const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 16);

/** Minutes in which no gateway ran are gaps, not lines over them. */
function withGaps(points) {
  const filled = [];
  for (const point of points) {
    const at = Date.parse(point.at) / 1000;
    const last = filled.at(-1);
    for (let gap = last ? last.at + 60 : at; gap < at; gap += 60) filled.push({ at: gap, point: null });
    filled.push({ at, point });
  }
  return filled;
}

/** Where a value stands between two gaps: no line leads to it. None: nowhere. */
function lone(values) {
  const gap = (nth) => (values[nth] ?? null) === null;
  const found = values.flatMap((_, nth) => (!gap(nth) && gap(nth - 1) && gap(nth + 1) ? [nth] : []));
  return found.length > 0 ? found : null;
}

const height = 180;

/**
 * A chart of `lines`, each `{ name, colour, of(point) }`; `tell` writes a value. The colours are names of the
 * style sheet's classes, so that both faces have theirs.
 */
export function chart(title, points, lines, tell) {
  const times = withGaps(points);
  const values = lines.map((line) => times.map(({ point }) => (point ? line.of(point) : null)));
  const newest = (nth) => values[nth].findLast((value) => value !== null) ?? null;
  const say = (value) => (value === null || value === undefined ? "–" : tell(value));
  const shown = lines.map((_, nth) => h("b", {}, say(newest(nth))));
  const marks = lines.map((line) => h("span", { class: `mark ${line.colour}` }));
  const at = h("span", { class: "at" });
  const place = h("div", { class: "plot", "aria-hidden": "true" });
  const most = (nth) => say(values[nth].reduce((most, value) => (value !== null && (most === null || value > most) ? value : most), null));
  const id = `chart-${title.replaceAll(/\W+/g, "-").toLowerCase()}`;
  const figure = h(
    "figure",
    { class: "chart", "aria-labelledby": id },
    h(
      "figcaption",
      {},
      h("h2", { id }, title),
      h("span", { class: "legend" }, lines.map((line, nth) => h("span", {}, marks[nth], `${line.name} `, shown[nth])), at),
      h("span", { class: "unseen" }, lines.map((line, nth) => `${line.name}: ${say(newest(nth))} now, ${most(nth)} at most. `)),
    ),
    place,
    h(
      "details",
      { open: opened.has(id), ontoggle: (event) => (event.target.open ? opened.add(id) : opened.delete(id)) },
      h("summary", { "data-key": id }, "As a table"),
      table(title, ["Minute", ...lines.map((line) => line.name)], times.toReversed().map(({ at, point }) => [clock(at), ...lines.map((line) => (point ? say(line.of(point)) : "no gateway ran"))]), "Nothing yet."),
    ),
  );
  const draw = () => {
    sweep();
    const colour = (element) => getComputedStyle(element).color;
    const quiet = colour(at);
    const rule = getComputedStyle(place).borderTopColor;
    const axis = { stroke: quiet, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 }, font: "12px system-ui, sans-serif" };
    const plot = new uPlot(
      {
        width: Math.max(place.clientWidth, 120),
        height,
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { size: 6 } },
        scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
        axes: [
          { ...axis, size: 34, values: (_, splits) => splits.map(clock) },
          { ...axis, size: 66, values: (_, splits) => splits.map(tell) },
        ],
        series: [{}, ...lines.map((line, nth) => ({ label: line.name, stroke: colour(marks[nth]), width: 2, points: { show: times.length < 3, filter: (_, series, all) => (all ? null : lone(values[series - 1])) } }))],
        hooks: {
          setCursor: [
            (plot) => {
              const nth = plot.cursor.idx;
              at.textContent = nth === null || nth === undefined ? "" : clock(times[nth].at);
              shown.forEach((element, line) => (element.textContent = say(nth === null || nth === undefined ? newest(line) : values[line][nth])));
            },
          ],
        },
      },
      [times.map(({ at }) => at), ...values],
      place,
    );
    drawn.add(plot);
    new ResizeObserver(() => plot.root.isConnected && plot.setSize({ width: Math.max(place.clientWidth, 120), height })).observe(place);
  };
  // Its width and colours are known once it is in the page.
  requestAnimationFrame(() => place.isConnected && draw());
  return figure;
}
