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
  const ends = roundEnds(all);
  const xs = [ends[0], ...sorted.map(({ predicted }) => predicted), ends[1]];
  const scale = { distr: /** @type {const} */ (3), range: ends };
  follow(root, ({ ink, accent, rule }) => ({
    scales: { x: { time: false, ...scale }, y: scale },
    axes: axes(ink, rule, "predicted", "measured"),
    series: [
      { label: "predicted" },
      { label: "measured", stroke: accent, paths: () => null, points: { show: true, size: 6, stroke: accent, fill: accent } },
      { label: "both agree", stroke: ink, dash: [4, 4], points: { show: false } },
    ],
    data: [xs, [null, ...sorted.map(({ measured }) => measured), null], xs],
  }));
}

/**
 * How many values lie in each of some equal steps of the logarithm.
 * @param {HTMLElement} root
 * @param {readonly number[]} values above 0
 */
export function drawHistogram(root, values) {
  if (values.length === 0) return;
  const ends = roundEnds(values);
  const low = Math.log(ends[0]);
  const step = (Math.log(ends[1]) - low) / BARS;
  const counts = Array.from({ length: BARS }, () => 0);
  for (const value of values) counts[Math.min(BARS - 1, Math.floor((Math.log(value) - low) / step))] += 1;
  const centres = counts.map((_, at) => Math.exp(low + (at + 0.5) * step));
  follow(root, ({ ink, accent, rule }) => ({
    scales: {
      x: { time: false, distr: 3, range: ends },
      y: { range: [0, Math.max(...counts) * 1.1] },
    },
    axes: axes(ink, rule, "tokens per second", "runs"),
    series: [
      { label: "tokens per second" },
      { label: "runs", stroke: accent, fill: accent, paths: UPlot.paths.bars?.({ size: [0.9, 40] }), points: { show: false } },
    ],
    data: [centres, counts],
  }));
}

/** Round numbers around values, the ends of a logarithmic axis. @param {readonly number[]} values @returns {[number, number]} */
function roundEnds(values) {
  const [low, high] = [Math.min(...values) / 1.05, Math.max(...values) * 1.05];
  const steps = (/** @type {number} */ value) => [1, 2, 5, 10].map((digit) => digit * 10 ** Math.floor(Math.log10(value)));
  return [steps(low).findLast((step) => step <= low) ?? low, steps(high).find((step) => step >= high) ?? high];
}

/**
 * Keep a plot as wide as its element, and in the colours of the hour.
 * @param {HTMLElement} root
 * @param {(palette: ReturnType<typeof colours>) => Omit<UPlot.Options, "width" | "height"> & {data: UPlot.AlignedData}} options
 */
function follow(root, options) {
  const draw = () => {
    const { data, ...rest } = options(colours());
    root.replaceChildren();
    return new UPlot({ ...rest, width: root.clientWidth, height: HEIGHT, legend: { show: false } }, data, root);
  };
  let plot = draw();
  new ResizeObserver(() => plot.setSize({ width: root.clientWidth, height: HEIGHT })).observe(root);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (plot = draw()));
}

/** Of the marks of a logarithmic axis those that begin with 1, 2 or 5. @param {UPlot} _plot @param {number[]} splits */
function roundMarks(_plot, splits) {
  return splits.map((split) => (/^[125]0*$/.test(Number(split.toPrecision(3)).toExponential().split("e")[0].replace(".", "")) ? split : null));
}

/** @param {string} ink @param {string} rule @param {string} x @param {string} y @returns {UPlot.Axis[]} */
function axes(ink, rule, x, y) {
  const lines = { stroke: rule, width: 1, filter: roundMarks };
  const shared = { stroke: ink, grid: lines, ticks: lines, font: "12px system-ui", labelFont: "12px system-ui" };
  const logarithmic = { ...shared, filter: roundMarks };
  return [
    { ...logarithmic, label: x },
    { ...(y === "runs" ? { ...shared, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule } } : logarithmic), label: y },
  ];
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return { ink: colour("--ink-soft"), accent: colour("--accent"), rule: colour("--rule") };
}
