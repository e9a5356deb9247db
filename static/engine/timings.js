/** Owns single timings: runs in pieces, what of them is typical, and what share of the time a run had. */

/** Pieces of a run: between them it can end. */
export const PIECES = 8;
/** By so much of the typical run's time others may take longer on a machine that does nothing else. */
const USUAL_EXCESS = 0.3;

/**
 * Seconds of a typical run of the steps from `begin` to `end`; throws TimeIsUp.
 * @typedef {(begin: number, end: number, run: (begin: number, end: number) => void) => Promise<number>} Timer
 */

/**
 * Timers for one round after the other, over the same parts in the same order, that give the best of the rounds so far.
 * @param {Timer} time
 * @returns {() => Timer}
 */
export function bestOf(time) {
  /** @type {number[]} */
  const best = [];
  return () => {
    let part = 0;
    return async (begin, end, run) => {
      const at = part++;
      best[at] = Math.min(best[at] ?? Infinity, await time(begin, end, run));
      return best[at];
    };
  };
}

/**
 * A run, or the share of it that was done when time was up.
 * @typedef {{seconds: number, done: number}} Timing
 */

/**
 * Times a run in pieces.
 * @param {number} begin
 * @param {number} end
 * @param {(begin: number, end: number) => void} run
 * @param {number} until milliseconds
 * @param {() => number} clock
 * @returns {Timing}
 */
export function timed(begin, end, run, until, clock) {
  const step = Math.ceil((end - begin) / PIECES);
  const start = clock();
  let done = begin;
  let now = start;
  while (done < end && (done === begin || now < until)) {
    const next = Math.min(end, done + step);
    run(done, next);
    done = next;
    now = clock();
  }
  return { seconds: (now - start) / 1000, done: (done - begin) / (end - begin) };
}

/** @param {Timing} timing */
export function isWhole({ done }) {
  return done === 1;
}

/** The later runs, which the compiler has made fast; all, where the first was cut off. @param {readonly Timing[]} runs */
function laterOf(runs) {
  return runs.slice(isWhole(runs[0]) ? runs.length >> 1 : 0);
}

/**
 * Of the later whole runs, that which a quarter of them beats: an answer is made of many, and few of them are the best,
 * but those of a page that is just being opened are worse. Where none is whole, what was done stands for the rest.
 * @param {readonly Timing[]} runs
 */
export function typicalSeconds(runs) {
  const whole = runs.filter(isWhole);
  if (whole.length === 0) return Math.min(...runs.map(({ seconds, done }) => seconds / done));
  const sorted = laterOf(whole).map(({ seconds }) => seconds).sort((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 2];
}

/**
 * The share of the time in which the kernels run: how the typical run of each part compares with all of its later runs.
 * @param {readonly (readonly Timing[])[]} timings the runs of each part
 * @returns {number} 1 unless others, or a limit, take the cores for part of the time
 */
export function shareOfTime(timings) {
  let all = 0;
  let undisturbed = 0;
  for (const runs of timings) {
    const typical = typicalSeconds(runs);
    for (const { seconds, done } of laterOf(runs)) {
      all += seconds;
      undisturbed += done * typical;
    }
  }
  return all > (1 + USUAL_EXCESS) * undisturbed ? undisturbed / (all - USUAL_EXCESS * undisturbed) : 1;
}
