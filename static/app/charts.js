/** Owns the plots of measurements, drawn by uPlot in the page's own colours. */
import UPlot from "../vendor/uplot/uplot.mjs";

const HEIGHT = 288;
const BARS = 24;

/**
 * Predicted against measured on logarithmic axes, with the line on which both agree.
 * @param {HTMLElement} root
 * @param {readonly {predicted: number, measured: number}[]} points
 */
export function drawAgreement(root, points) {
  if (points.length === 0) return;
  const sorted = [...points].sort((a, b) => a.predicted - b.predicted);
  const all = sorted.flatMap(({ predicted, measured }) => [predicted, measured]);
  const ends = [Math.min(...all) / 1.3, Math.max(...all) * 1.3];
  const { ink, accent, rule } = colours();
  const xs = [ends[0], ...sorted.map(({ predicted }) => predicted), ends[1]];
  const scale = { distr: /** @type {const} */ (3), range: /** @type {[number, number]} */ ([ends[0], ends[1]]) };
  follow(root, {
    scales: { x: { time: false, ...scale }, y: scale },
    axes: axes(ink, rule, "predicted", "measured"),
    series: [
      { label: "predicted" },
      { label: "measured", stroke: accent, paths: () => null, points: { show: true, size: 6, stroke: accent, fill: accent } },
      { label: "both agree", stroke: ink, dash: [4, 4], points: { show: false } },
    ],
    data: [xs, [null, ...sorted.map(({ measured }) => measured), null], xs],
  });
}

/**
 * How many values lie in each of some equal steps of the logarithm.
 * @param {HTMLElement} root
 * @param {readonly number[]} values above 0
 */
export function drawHistogram(root, values) {
  if (values.length === 0) return;
  const { ink, accent, rule } = colours();
  const low = Math.log(Math.min(...values) / 1.1);
  const step = (Math.log(Math.max(...values) * 1.1) - low) / BARS;
  const counts = Array.from({ length: BARS }, () => 0);
  for (const value of values) counts[Math.min(BARS - 1, Math.floor((Math.log(value) - low) / step))] += 1;
  const centres = counts.map((_, at) => Math.exp(low + (at + 0.5) * step));
  follow(root, {
    scales: {
      x: { time: false, distr: 3, range: [Math.exp(low), Math.exp(low + BARS * step)] },
      y: { range: [0, Math.max(...counts) * 1.1] },
    },
    axes: axes(ink, rule, "tokens per second", "runs"),
    series: [
      { label: "tokens per second" },
      { label: "runs", stroke: accent, fill: accent, paths: UPlot.paths.bars?.({ size: [0.9, 40] }), points: { show: false } },
    ],
    data: [centres, counts],
  });
}

/**
 * Keep a plot as wide as its element.
 * @param {HTMLElement} root
 * @param {Omit<UPlot.Options, "width" | "height"> & {data: UPlot.AlignedData}} options
 */
function follow(root, { data, ...options }) {
  const plot = new UPlot({ ...options, width: root.clientWidth, height: HEIGHT, legend: { show: false } }, data, root);
  new ResizeObserver(() => plot.setSize({ width: root.clientWidth, height: HEIGHT })).observe(root);
}

/** @param {string} ink @param {string} rule @param {string} x @param {string} y @returns {UPlot.Axis[]} */
function axes(ink, rule, x, y) {
  const shared = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule }, font: "12px system-ui", labelFont: "12px system-ui" };
  return [
    { ...shared, label: x },
    { ...shared, label: y },
  ];
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return { ink: colour("--ink-soft"), accent: colour("--accent"), rule: colour("--rule") };
}
