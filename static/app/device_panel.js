/** Owns the facts about this device, in plain words. */
import { byId, find } from "./dom.js";
import { deviceClass } from "../device/device_class.js";
import { toProfile } from "../device/profile.js";
import { formatBytes, formatRate } from "./format.js";
import { describeClass } from "./wording.js";

/** @typedef {import("../featherweight.js").Device} Device */

/** @type {Device | null} */
let shown = null;

/** @param {{measure: () => Promise<void>}} actions */
export function setUpDevicePanel({ measure }) {
  const button = byId("measure-button", HTMLButtonElement);
  button.addEventListener("click", async () => {
    button.disabled = true;
    setFact("speed", "measuring…");
    await measure();
    button.disabled = false;
  });
  byId("profile-button", HTMLButtonElement).addEventListener("click", saveProfile);
  const toggle = byId("device-toggle", HTMLButtonElement);
  toggle.addEventListener("click", () => {
    const open = toggle.getAttribute("aria-expanded") !== "true";
    toggle.setAttribute("aria-expanded", String(open));
    byId("device-details", HTMLElement).classList.toggle("open", open);
  });
}

/** Hands the profile over as a file, for `featherweight fit`. */
function saveProfile() {
  if (!shown) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(toProfile(shown), null, 1)], { type: "application/json" }));
  link.download = "device.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** @param {Promise<Device>} probe */
export async function showDevice(probe) {
  try {
    const device = await probe;
    shown = device;
    for (const [fact, words] of Object.entries(describeDevice(device))) setFact(fact, words);
    byId("device-note", HTMLElement).textContent = describeEngine(device);
    showClass(device);
  } catch (error) {
    for (const fact of ["processor", "speed", "memory", "graphics", "storage"]) setFact(fact, "unknown");
    byId("device-note", HTMLElement).textContent = `This device could not be weighed: ${error instanceof Error ? error.message : error}`;
  }
}

/** @param {Device} device */
function showClass(device) {
  const found = device.wasm.simd ? deviceClass(device) : null;
  if (!found && device.wasm.simd) return; // it is being measured
  const [name, sentence] = found ? describeClass(found) : ["Cannot carry these models", "This browser is too old for them."];
  byId("device-class", HTMLElement).textContent = name;
  byId("device-class-sentence", HTMLElement).textContent = sentence;
}

/** @param {Device} device */
function describeDevice({ threads, crossOriginIsolated, wasm, deviceMemoryGib, webgpu, storage, rates }) {
  const parallel = crossOriginIsolated && wasm.threads;
  return {
    processor: parallel || threads === 1 ? `${threads} ${threads === 1 ? "thread" : "threads"}` : `1 of ${threads} threads`,
    speed: rates ? describeSpeed(rates) : "not measured yet",
    memory: deviceMemoryGib === null ? "not told" : `${deviceMemoryGib} GB or more`,
    graphics: webgpu ? (webgpu.isFallback ? "WebGPU in software" : gpuName(webgpu, rates?.gpu)) : "no WebGPU",
    storage: storage ? formatBytes(Math.max(0, storage.quotaBytes - storage.usageBytes)) : "not told",
  };
}

/** @param {NonNullable<Device["rates"]>} rates */
function describeSpeed({ by_threads: byThreads }) {
  const { linear } = byThreads[byThreads.length - 1];
  const { bytes_per_s: bytes, macs_per_s: macs } = linear.linear_4bit ?? linear.linear_float;
  return `${formatRate(bytes / 1e9)} GB/s, ${formatRate(macs / 1e9)} GMAC/s`;
}

/** @param {NonNullable<Device["webgpu"]>} webgpu @param {import("../device/gpu_meter.js").GpuRates | null} [rates] */
function gpuName({ vendor, architecture }, rates) {
  const name = [vendor, architecture].filter(Boolean).join(" ");
  return ["WebGPU", name, rates ? `${formatRate(rates.bytes_per_s / 1e9)} GB/s` : ""].filter(Boolean).join(", ");
}

/** @param {Device} device */
function describeEngine({ crossOriginIsolated, wasm }) {
  if (!wasm.simd) return "This browser is too old for these models: its WebAssembly has no SIMD.";
  const parts = ["SIMD", wasm.relaxedSimd ? "relaxed SIMD" : "", crossOriginIsolated && wasm.threads ? "threads" : ""];
  const isolation = crossOriginIsolated ? "" : " The page is not cross-origin isolated, so models run on one thread.";
  return `WebAssembly: ${parts.filter(Boolean).join(", ")}.${isolation}`;
}

/**
 * @param {string} fact
 * @param {string} words
 */
function setFact(fact, words) {
  find(byId("device-facts", HTMLElement), `[data-fact="${fact}"]`, HTMLElement).textContent = words;
}
