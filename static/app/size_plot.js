/** Owns the plot of size against speed: one point for each model, on the scale of the beams, with its name beside it. */
import { formatBytes, formatCount, formatRate } from "./format.js";
import { weightPosition } from "./scale.js";

/** A model: `writes` says whether `speed` is of tokens that it writes a second, or of those that it reads. @typedef {{name: string, bytes: number, speed: number, writes: boolean}} Sized */
/** @typedef {{x: number, y: number}} Point */
/** @typedef {{names: string[], sized: Sized[], x: number, y: number}} Spot */
/** @typedef {{text: string, x: number, y: number, width: number}} Label pixels of its left end and its middle */

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 240;
const EDGE = { left: 52, right: 10, top: 12, bottom: 40 };
const NEAR = 9;
const LINE = 16;
const CHARACTER = 6.6;
const SIZES = [1e7, 1e8, 1e9, 1e10];

/**
 * @param {HTMLElement} root what it held before is replaced; drawn again when its width changes
 */
export function sizePlot(root) {
  /** @type {Sized[]} */
  let models = [];
  const draw = () => root.replaceChildren(drawPlot(models, root.clientWidth));
  new ResizeObserver(() => models.length > 0 && draw()).observe(root);
  return {
    /** @param {Sized[]} shown at least one */
    show(shown) {
      models = shown;
      draw();
    },
  };
}

/** @param {Sized[]} models @param {number} width pixels */
function drawPlot(models, width) {
  const speeds = decades(models.map(({ speed }) => speed));
  const inner = { width: width - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
  const xOf = (/** @type {number} */ bytes) => EDGE.left + inner.width * weightPosition(bytes);
  const yOf = (/** @type {number} */ speed) =>
    EDGE.top + inner.height * (1 - Math.log(speed / speeds[0]) / Math.log(speeds[speeds.length - 1] / speeds[0]));
  const svg = element("svg", { class: "size-plot", width, height: HEIGHT, role: "img", "aria-label": describe(models) });
  for (const speed of speeds) {
    svg.append(element("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: yOf(speed), y2: yOf(speed) }));
    svg.append(element("text", { class: "tick", x: EDGE.left - 8, y: yOf(speed) + 4, "text-anchor": "end" }, formatCount(speed)));
  }
  for (const bytes of SIZES) {
    const anchor = bytes === SIZES[0] ? "start" : bytes === SIZES[SIZES.length - 1] ? "end" : "middle";
    const mark = { x1: xOf(bytes), x2: xOf(bytes), y1: EDGE.top + inner.height, y2: EDGE.top + inner.height + 6 };
    svg.append(element("line", { class: "mark", ...mark }));
    svg.append(element("text", { class: "tick", x: xOf(bytes), y: HEIGHT - EDGE.bottom + 20, "text-anchor": anchor }, formatBytes(bytes).replace(".0", "")));
  }
  const spots = gather(models.map((model) => ({ ...model, x: xOf(model.bytes), y: yOf(model.speed) })));
  const area = { left: EDGE.left, right: width, top: EDGE.top, bottom: EDGE.top + inner.height };
  const labels = placeLabels(spots, area);
  for (const { sized, x, y } of spots) {
    const point = element("circle", { class: sized[0].writes ? "point" : "point point-reads", cx: x, cy: y, r: 5 });
    point.append(element("title", {}, describe(sized)));
    svg.append(point);
  }
  for (const { text, x, y } of labels) svg.append(element("text", { class: "name", x, y: y + 4 }, text));
  return svg;
}

/** Points that lie on each other are one spot. @param {(Sized & Point)[]} points @returns {Spot[]} */
export function gather(points) {
  /** @type {Spot[]} */
  const spots = [];
  for (const point of points) {
    const spot = spots.find(({ x, y, sized }) => sized[0].writes === point.writes && Math.hypot(x - point.x, y - point.y) < NEAR);
    if (spot) {
      spot.names.push(point.name);
      spot.sized.push(point);
    } else {
      spots.push({ names: [point.name], sized: [point], x: point.x, y: point.y });
    }
  }
  return spots;
}

/**
 * Puts each name where it covers no point and no other name; one that has no place is left out.
 * @param {readonly Spot[]} spots
 * @param {{left: number, right: number, top: number, bottom: number}} area
 * @returns {Label[]}
 */
export function placeLabels(spots, area) {
  /** @type {Label[]} */
  const placed = [];
  for (const { names, x, y } of spots) {
    const text = names.length > 2 ? `${names[0]} and ${names.length - 1} more` : names.join(", ");
    const width = text.length * CHARACTER;
    const places = [
      { x: x + 10, y },
      { x: x - 10 - width, y },
      { x: x - width / 2, y: y - LINE },
      { x: x - width / 2, y: y + LINE },
      { x: Math.max(area.left, area.right - width - 4), y: y - LINE },
      { x: Math.max(area.left, area.right - width - 4), y: y + LINE },
    ].map((place) => ({ ...place, text, width }));
    const free = places.find((label) => isInside(label, area) && !placed.some((other) => overlap(label, other)) && !spots.some((spot) => covers(label, spot)));
    if (free) placed.push(free);
  }
  return placed;
}

/** @param {Label} label @param {{left: number, right: number, top: number, bottom: number}} area */
function isInside({ x, y, width }, { left, right, top, bottom }) {
  return x >= left && x + width <= right && y >= top - 4 && y <= bottom;
}

/** @param {Label} a @param {Label} b */
function overlap(a, b) {
  return Math.abs(a.y - b.y) < LINE && a.x < b.x + b.width + 6 && b.x < a.x + a.width + 6;
}

/** @param {Label} label @param {Point} spot */
function covers(label, spot) {
  return Math.abs(label.y - spot.y) < LINE / 2 + 5 && label.x < spot.x + 6 && spot.x - 6 < label.x + label.width;
}

/** Whole powers of ten around values, the smallest first. @param {number[]} values */
function decades(values) {
  const first = Math.floor(Math.log10(Math.min(...values)));
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...values))));
  return Array.from({ length: last - first + 1 }, (_, at) => 10 ** (first + at));
}

/** @param {readonly Sized[]} models */
function describe(models) {
  return models.map(({ name, bytes, speed, writes }) => `${name}: ${formatBytes(bytes)}, ${writes ? "writes" : "reads"} ${formatRate(speed)} tokens a second`).join("; ");
}

/** @param {string} name @param {Record<string, string | number>} attributes @param {string} [text] */
function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}
