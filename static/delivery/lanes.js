/** Owns the limit on how much happens at once: jobs wait for a free lane, first come, first served. */

/** @template Resource what a job may use while it runs */
export class Lanes {
  #free;
  /** @type {((resource: Resource) => void)[]} */
  #waiting = [];

  /** @param {Resource[]} resources one per lane */
  constructor(resources) {
    this.#free = [...resources];
  }

  /**
   * @template T
   * @param {(resource: Resource) => Promise<T>} job
   * @returns {Promise<T>}
   */
  async run(job) {
    /** @type {Resource} */
    const resource = this.#free.pop() ?? (await new Promise((resolve) => this.#waiting.push(resolve)));
    try {
      return await job(resource);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(resource);
      else this.#free.push(resource);
    }
  }
}
