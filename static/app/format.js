/** Owns how numbers become words on the page: bytes, rates, durations, counts. Pure. */

const NUMBER = new Intl.NumberFormat("en");

/**
 * A size in the decimal units that download pages use: "98 MB", "1.4 GB".
 * @param {number} bytes
 */
export function formatBytes(bytes) {
  const [value, unit] = scaleBytes(bytes);
  return `${value} ${unit}`;
}

/**
 * How much of a whole is there, the unit said once where both share it: "41 of 98 MB".
 * @param {number} part bytes
 * @param {number} whole bytes
 */
export function formatPart(part, whole) {
  const [wholeValue, unit] = scaleBytes(whole);
  const [partValue, partUnit] = scaleBytes(Math.min(part, whole));
  if (part === 0) return `0 of ${wholeValue} ${unit}`;
  return partUnit === unit ? `${partValue} of ${wholeValue} ${unit}` : `${partValue} ${partUnit} of ${wholeValue} ${unit}`;
}

/**
 * @param {number} bytes
 * @returns {[string, string]}
 */
function scaleBytes(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = Math.max(0, bytes);
  let step = 0;
  while (value >= 999.5 && step < units.length - 1) {
    value /= 1000;
    step += 1;
  }
  return [step > 0 && value < 9.95 ? value.toFixed(1) : String(Math.round(value)), units[step]];
}

/**
 * A length of time, as roughly as one says it: "<0.01 s", "0.42 s", "12 s", "3 min 5 s", "1 h 20 min".
 * @param {number} seconds
 */
export function formatSeconds(seconds) {
  if (seconds < 0.005) return "<0.01 s";
  if (seconds < 10) return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return joinUnits(Math.floor(whole / 60), "min", whole % 60, "s");
  const minutes = Math.round(whole / 60);
  return joinUnits(Math.floor(minutes / 60), "h", minutes % 60, "min");
}

/**
 * @param {number} large
 * @param {string} largeUnit
 * @param {number} small
 * @param {string} smallUnit
 */
function joinUnits(large, largeUnit, small, smallUnit) {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/**
 * Time left, in words that do not flicker: "a few seconds left", "about 40 s left".
 * @param {number} seconds
 */
export function formatTimeLeft(seconds) {
  if (seconds < 5) return "a few seconds left";
  const step = seconds < 60 ? 5 : seconds < 600 ? 10 : 60;
  return `about ${formatSeconds(Math.ceil(seconds / step) * step)} left`;
}

/**
 * Three significant digits for a speed: "2.31", "23.1", "231".
 * @param {number} value
 */
export function formatRate(value) {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : String(Math.round(value));
}

/**
 * A count of parameters as the field says it: "90 k", "135 M", "2.5 B".
 * @param {number} count
 */
export function formatParameters(count) {
  if (count >= 1e9) return `${(count / 1e9).toFixed(count < 9.95e9 ? 1 : 0)} B`;
  return count >= 9.5e5 ? `${Math.round(count / 1e6)} M` : `${Math.round(count / 1e3)} k`;
}

/**
 * A probability: "83 %", "4.2 %", "<0.1 %".
 * @param {number} share 0 to 1
 */
export function formatShare(share) {
  const percent = 100 * share;
  if (percent < 0.1) return "<0.1 %";
  return `${percent < 9.95 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/** @param {number} count */
export function formatCount(count) {
  return NUMBER.format(count);
}

/**
 * "1 passage", "12 passages".
 * @param {number} count
 * @param {string} noun whose plural takes an s
 */
export function countOf(count, noun) {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}
