/**
 * Owns how many threads share a run: found by trying, once after loading, and again among real runs when those have
 * become slow (a busy machine) or may have become fast again. Runs of about the same size are compared with each other.
 * The answers do not depend on it.
 */

/**
 * Runs by which numbers of threads are compared, taken in turns.
 * @typedef {object} Trial
 * @property {readonly number[]} counts
 * @property {number[][]} times of each
 * @property {number} run how many were made
 * @property {number} rounds runs of each number
 * @property {(times: readonly number[]) => number} score
 */

/** Numbers of threads that are tried. */
const CANDIDATES = [1, 2, 3, 4, 6, 8, 12, 16];
/** Runs of each number: the best of those after loading counts, since what disturbs them is not to last. */
const FIRST_ROUNDS = 5;
/** Among real runs the median counts: what disturbs them is what they are tried for. */
const ROUNDS = 3;
/** More threads must be this much faster than fewer, or they stay free for others. */
const WORTH = 0.95;
/** Runs whose median is compared with what is usual. */
const WINDOW = 8;
/** Slower than usual by this, and something has changed. */
const SLOW = 1.5;
/** What is usual rises so much per window: an answer gets slower as its context grows. */
const DRIFT = 1.01;
/**
 * Windows until more threads are tried: soon, since a page that loads a model is busy, then twice as many each time that
 * they do not help.
 */
const PATIENCE = 1;
const LONGEST_PATIENCE = 128;

export class ThreadChoice {
  #use;
  #now;
  /** Those that may be used. @type {readonly number[]} */
  #candidates;
  /** By size, in powers of two; none unless runs are watched. @type {Map<string, WatchedRuns> | null} */
  #sizes = null;
  /** What was found last, which runs of a new size begin with. */
  #found;

  /** How many threads shared the last run. */
  count;

  /**
   * @param {number} most threads that exist
   * @param {(count: number) => void} use sets how many of them take part in the next run
   * @param {() => number} [now] milliseconds
   */
  constructor(most, use, now = () => performance.now()) {
    this.#use = use;
    this.#now = now;
    this.#candidates = [...CANDIDATES.filter((count) => count < most), most];
    this.#found = most;
    this.count = most;
    use(most);
  }

  /**
   * Choose by runs that stand for the real ones, and go on choosing.
   * @param {() => void} run
   */
  measure(run) {
    const runs = new WatchedRuns(this.#candidates, this.#found);
    runs.begin(this.#candidates, FIRST_ROUNDS, (times) => Math.min(...times));
    while (runs.trial) this.#timed(runs, run, 1);
    this.count = this.#found;
    this.#use(this.count);
    this.#sizes = new Map();
  }

  /**
   * Do a real run.
   * @template T
   * @param {() => T} run
   * @param {number} [rows] how many tokens it is over
   * @param {number} [seen] tokens that the last of them sees, where that may make a great part of the time
   * @returns {T}
   */
  timed(run, rows = 1, seen = rows) {
    if (!this.#sizes) return run();
    const size = [rows, seen].map((count) => Math.ceil(Math.log2(count))).join();
    const runs = this.#sizes.get(size) ?? new WatchedRuns(this.#candidates, this.#found);
    this.#sizes.set(size, runs);
    return this.#timed(runs, run, rows);
  }

  /**
   * @template T
   * @param {WatchedRuns} runs
   * @param {() => T} run
   * @param {number} rows
   * @returns {T}
   */
  #timed(runs, run, rows) {
    this.count = runs.next;
    this.#use(this.count);
    const start = this.#now();
    const result = run();
    const tried = runs.trial !== null;
    runs.took((this.#now() - start) / rows);
    if (tried && !runs.trial) this.#found = runs.count;
    return result;
  }
}

/** Runs of one size, and how many threads share them. */
class WatchedRuns {
  #candidates;
  /** What is being tried. @type {Trial | null} */
  trial = null;
  /** @type {number[]} */
  #window = [];
  #usual = Infinity;
  #patience = PATIENCE;
  #windows = 0;

  /** @param {readonly number[]} candidates @param {number} count chosen so far */
  constructor(candidates, count) {
    this.#candidates = candidates;
    this.count = count;
  }

  /** How many threads are to share the next run. */
  get next() {
    const { trial } = this;
    return trial ? trial.counts[trial.run % trial.counts.length] : this.count;
  }

  /** A run with so many took `time`, per row. @param {number} time */
  took(time) {
    if (this.trial) this.#tried(this.trial, time);
    else this.#watch(time);
  }

  /** @param {readonly number[]} counts ascending @param {number} rounds @param {Trial["score"]} score */
  begin(counts, rounds, score) {
    this.#window = [];
    this.#windows = 0;
    if (counts.length > 1) this.trial = { counts, times: counts.map(() => []), run: 0, rounds, score };
  }

  /** @param {Trial} trial @param {number} time */
  #tried(trial, time) {
    trial.times[trial.run++ % trial.counts.length].push(time);
    if (trial.run < trial.rounds * trial.counts.length) return;
    this.trial = null;
    const scores = trial.times.map(trial.score);
    let chosen = 0;
    for (let at = 1; at < scores.length; at++) if (scores[at] < WORTH * scores[chosen]) chosen = at;
    const stays = trial.counts[chosen] === this.count;
    this.#patience = stays ? Math.min(2 * this.#patience, LONGEST_PATIENCE) : PATIENCE;
    this.count = trial.counts[chosen];
    this.#usual = scores[chosen];
  }

  /** @param {number} time of a run with the chosen number */
  #watch(time) {
    this.#window.push(time);
    if (this.#window.length < WINDOW) return;
    const typical = median(this.#window);
    this.#window = [];
    this.#windows++;
    const slow = typical > SLOW * this.#usual;
    const doubtful = this.#windows >= this.#patience && this.count !== this.#candidates.at(-1);
    this.#usual = slow ? typical : Math.min(typical, DRIFT * this.#usual);
    if (slow || doubtful) this.begin(this.#neighbours(), ROUNDS, median);
  }

  /** The chosen number, the next below it and the next above. */
  #neighbours() {
    const at = this.#candidates.indexOf(this.count);
    return this.#candidates.slice(Math.max(0, at - 1), at + 2);
  }
}

/** @param {readonly number[]} times */
function median(times) {
  return [...times].sort((a, b) => a - b)[times.length >> 1];
}
