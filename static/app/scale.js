/** Owns the page's one drawing: a ruled beam with ticks, a filled weight and a needle, for sizes, progress and scores. */
import { make } from "./dom.js";
import { formatBytes } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const LIGHTEST_BYTES = 1e7;
const HEAVIEST_BYTES = 1e10;

/** Boxing's names, lightest first, up to `bytes` of download. */
const WEIGHT_CLASSES = [
  { name: "flyweight", bytes: 5e7 },
  { name: "featherweight", bytes: 2.5e8 },
  { name: "lightweight", bytes: 1e9 },
  { name: "middleweight", bytes: 2.5e9 },
  { name: "heavyweight", bytes: Infinity },
];

/** @param {number} downloadBytes */
export function weightClass(downloadBytes) {
  return WEIGHT_CLASSES.find(({ bytes }) => downloadBytes < bytes)?.name ?? "heavyweight";
}

/**
 * Where a size lies on the beam of weights, 10 MB to 10 GB, by its logarithm.
 * @param {number} bytes
 * @returns {number} 0 to 1
 */
export function weightPosition(bytes) {
  const share = Math.log(bytes / LIGHTEST_BYTES) / Math.log(HEAVIEST_BYTES / LIGHTEST_BYTES);
  return Math.min(1, Math.max(0, share));
}

/**
 * The beam of a model: its download as the weight with the needle, its memory as a paler weight, the device's limit as a wall.
 * @returns {{root: HTMLElement, show: (sizes: {download: number, memory?: number, limit?: number}) => void}}
 */
export function modelScale() {
  const decades = [1e7, 1e8, 1e9, 1e10];
  const ticks = decades
    .slice(0, -1)
    .flatMap((decade) => [1, 2, 3, 4, 5, 6, 7, 8, 9].map((step) => ({ at: weightPosition(decade * step), long: step === 1 })));
  const beam = drawBeam([...ticks, { at: 1, long: true }]);
  const memory = make("div", "beam-memory");
  const limit = make("div", "beam-limit");
  beam.track.prepend(memory, limit);
  beam.root.append(labels(decades.map((decade) => ({ at: weightPosition(decade), text: formatBytes(decade).replace(".0", "") }))));
  return {
    root: beam.root,
    show(sizes) {
      beam.set(weightPosition(sizes.download));
      beam.needleLabel.textContent = weightClass(sizes.download);
      memory.style.setProperty("--at", String(sizes.memory ? weightPosition(sizes.memory) : 0));
      limit.style.setProperty("--at", String(sizes.limit ? weightPosition(sizes.limit) : 1));
    },
  };
}

/**
 * The same beam as a progress bar: ticks at every tenth.
 * @returns {{root: HTMLElement, needleLabel: HTMLElement, set: (share: number) => void}}
 */
export function progressScale() {
  const tenths = Array.from({ length: 11 }, (_, index) => ({ at: index / 10, long: index % 5 === 0 }));
  const beam = drawBeam(tenths);
  beam.root.append(labels([0, 0.5, 1].map((at) => ({ at, text: `${at * 100} %` }))));
  return beam;
}

/**
 * A small beam for a score.
 * @param {number} score 0 to 1; outside is clamped
 */
export function scoreScale(score) {
  const beam = drawBeam([0, 0.25, 0.5, 0.75, 1].map((at) => ({ at, long: false })));
  beam.root.classList.add("beam-small");
  beam.root.setAttribute("aria-hidden", "true");
  beam.set(Math.min(1, Math.max(0, score)));
  return beam.root;
}

/** @param {{at: number, long: boolean}[]} ticks */
function drawBeam(ticks) {
  const root = make("div", "beam");
  const track = make("div", "beam-track");
  const weight = make("div", "beam-weight");
  const needle = make("div", "beam-needle");
  const needleLabel = make("span", "beam-needle-label");
  needle.append(needleLabel);
  track.append(weight, needle);
  root.append(track, drawTicks(ticks));
  return {
    root,
    track,
    needleLabel,
    /** @param {number} share 0 to 1 */
    set(share) {
      root.style.setProperty("--at", String(share));
      root.classList.toggle("beam-early", share < 0.15);
      root.classList.toggle("beam-late", share > 0.85);
    },
  };
}

/** @param {{at: number, long: boolean}[]} ticks */
function drawTicks(ticks) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "beam-ticks");
  for (const { at, long } of ticks) {
    const line = document.createElementNS(SVG, "line");
    line.setAttribute("x1", `${at * 100}%`);
    line.setAttribute("x2", `${at * 100}%`);
    line.setAttribute("y2", long ? "9" : "5");
    svg.append(line);
  }
  return svg;
}

/** @param {{at: number, text: string}[]} marks */
function labels(marks) {
  const root = make("div", "beam-labels");
  for (const { at, text } of marks) {
    const label = make("span", "", text);
    label.style.setProperty("left", `${at * 100}%`);
    root.append(label);
  }
  return root;
}
