/** The script of a worker thread. */

import { joinPool } from "./pool_member.js";

self.onmessage = ({ data }) => {
  joinPool(data, () => self.postMessage("ready"));
  self.close();
};
