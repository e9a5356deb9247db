/** Owns the numbers of the progress bar: what is here, how fast it comes, how long it will take. */

/**
 * @typedef {object} Progress
 * @property {"check" | "download"} phase
 * @property {number} totalBytes
 * @property {number} loadedBytes bytes of the total that are here: stored, or received of an unfinished chunk. It
 *   steps back when a chunk turns out to be wrong and is thrown away.
 * @property {number} storedBytes of those, what had not to be fetched because it was stored already
 * @property {number} networkBytes received from the network by this call, repeated and refused bytes included
 * @property {number} bytesPerSecond smoothed; 0 while nothing arrives
 * @property {number | null} secondsLeft null as long as there is no rate to tell it from
 */

const SMOOTHING_S = 3;

/** An exponentially smoothed rate over irregular intervals, without the slow start of a filter that begins at zero. */
export class RateMeter {
  #average = 0;
  #weight = 0;

  /** @param {number} bytes @param {number} seconds in which they came */
  add(bytes, seconds) {
    if (seconds <= 0) return;
    const share = 1 - Math.exp(-seconds / SMOOTHING_S);
    this.#average += (bytes / seconds - this.#average) * share;
    this.#weight += (1 - this.#weight) * share;
  }

  get bytesPerSecond() {
    return this.#weight === 0 ? 0 : this.#average / this.#weight;
  }
}

/** Counts a download and tells `onProgress` about it ten times a second, and once at its end. */
export class ProgressMeter {
  #onProgress;
  #now;
  #rate = new RateMeter();
  #fetchedBytes = 0;
  #lastTime;
  #lastNetworkBytes = 0;
  /** @type {Set<{filledBytes: number}>} */
  #unfinished = new Set();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @type {Progress["phase"]} */
  phase = "check";
  totalBytes = 0;
  storedBytes = 0;
  networkBytes = 0;

  /**
   * @param {((progress: Progress) => void) | undefined} onProgress
   * @param {() => number} now milliseconds
   */
  constructor(onProgress, now) {
    this.#onProgress = onProgress;
    this.#now = now;
    this.#lastTime = now();
  }

  /** Begins the regular reports. @param {number} [intervalMs] */
  start(intervalMs = 100) {
    this.phase = "download";
    this.#lastTime = this.#now();
    this.report();
    if (this.#onProgress) this.#timer = setInterval(() => this.report(), intervalMs);
  }

  stop() {
    clearInterval(this.#timer);
    this.report();
  }

  /**
   * Counts the unfinished chunk of a connection, until the returned function is called.
   * @param {{filledBytes: number}} assembler
   */
  follow(assembler) {
    this.#unfinished.add(assembler);
    return () => void this.#unfinished.delete(assembler);
  }

  /** A fetched chunk is verified and stored. @param {number} bytes */
  addFetched(bytes) {
    this.#fetchedBytes += bytes;
  }

  get loadedBytes() {
    let loaded = this.storedBytes + this.#fetchedBytes;
    for (const { filledBytes } of this.#unfinished) loaded += filledBytes;
    return Math.min(loaded, this.totalBytes);
  }

  report() {
    const time = this.#now();
    this.#rate.add(this.networkBytes - this.#lastNetworkBytes, (time - this.#lastTime) / 1000);
    this.#lastTime = time;
    this.#lastNetworkBytes = this.networkBytes;
    const { phase, totalBytes, loadedBytes, storedBytes, networkBytes } = this;
    const bytesPerSecond = Math.round(this.#rate.bytesPerSecond);
    const leftBytes = totalBytes - loadedBytes;
    const secondsLeft = leftBytes === 0 ? 0 : bytesPerSecond > 0 ? leftBytes / bytesPerSecond : null;
    this.#onProgress?.({ phase, totalBytes, loadedBytes, storedBytes, networkBytes, bytesPerSecond, secondsLeft });
  }
}
