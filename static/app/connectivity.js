/** Owns being offline: the service worker that keeps the page, and the words that say the network is gone. */
import { byId } from "./dom.js";

/** Long enough for a first visit's service worker to take over, short enough that nobody waits for a broken one. */
const TAKEOVER_MS = 3000;

/** Shows whether the device is online, now and whenever it changes. */
export function watchConnectivity() {
  const line = byId("connectivity", HTMLElement);
  const show = () => {
    document.documentElement.classList.toggle("offline", !navigator.onLine);
    line.textContent = navigator.onLine ? "" : "Offline. Models on this device still work.";
  };
  addEventListener("online", show);
  addEventListener("offline", show);
  show();
}

/**
 * Starts the service worker. Resolves once it serves this page, or when waiting longer would only delay the reader.
 * @returns {Promise<void>}
 */
export async function keepPageOffline() {
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register("/service-worker.js", { scope: "/" });
  } catch (error) {
    console.warn("The page will not work offline:", error);
    return;
  }
  if (navigator.serviceWorker.controller) return;
  await new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
    setTimeout(resolve, TAKEOVER_MS);
  });
}
