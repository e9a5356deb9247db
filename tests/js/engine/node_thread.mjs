/** A Node thread that takes the engine's pool assignment, as pool_worker.js does in browsers. */
import { parentPort } from "node:worker_threads";

import { joinPool } from "../../../static/engine/pool_member.js";

parentPort.once("message", (assignment) => {
  joinPool(assignment, () => parentPort.postMessage("ready"));
  process.exit(0);
});
