/** Owns a device's profile: the JSON form of facts and rates, for `featherweight fit` and for those who collect them. */

import { FeatherweightError } from "../errors.js";

/** @typedef {import("./probe.js").Device} Device */

const FORMAT = "featherweight-device";
const VERSION = 1;

/** @param {Device} device */
export function toProfile({ threads, crossOriginIsolated, wasm, webgpu, storage, connection, deviceMemoryGib, rates }) {
  return {
    format: FORMAT,
    version: VERSION,
    threads,
    cross_origin_isolated: crossOriginIsolated,
    wasm: { simd: wasm.simd, relaxed_simd: wasm.relaxedSimd, threads: wasm.threads, memory64: wasm.memory64 },
    webgpu: webgpu && {
      is_fallback: webgpu.isFallback,
      features: webgpu.features,
      limits: { max_buffer_size: webgpu.limits.maxBufferSize, max_storage_buffer_binding_size: webgpu.limits.maxStorageBufferBindingSize },
    },
    storage: storage && { quota_bytes: storage.quotaBytes, usage_bytes: storage.usageBytes, persisted: storage.persisted },
    connection: connection && { downlink_mbps: connection.downlinkMbps, rtt_ms: connection.rttMs, save_data: connection.saveData },
    device_memory_gib: deviceMemoryGib,
    rates,
  };
}

/**
 * @param {ReturnType<typeof toProfile>} profile
 * @returns {Device}
 * @throws {FeatherweightError} unsupported: it is no profile
 */
export function fromProfile(profile) {
  if (profile?.format !== FORMAT || profile.version !== VERSION) {
    throw new FeatherweightError("unsupported", `This is no ${FORMAT} of version ${VERSION}.`);
  }
  const { wasm, webgpu, storage, connection } = profile;
  return {
    threads: profile.threads,
    secureContext: true,
    crossOriginIsolated: profile.cross_origin_isolated,
    wasm: { simd: wasm.simd, relaxedSimd: wasm.relaxed_simd, threads: wasm.threads, memory64: wasm.memory64 },
    webgpu: webgpu && {
      vendor: "",
      architecture: "",
      description: "",
      isFallback: webgpu.is_fallback,
      features: webgpu.features,
      limits: { maxBufferSize: webgpu.limits.max_buffer_size, maxStorageBufferBindingSize: webgpu.limits.max_storage_buffer_binding_size },
    },
    storage: storage && { quotaBytes: storage.quota_bytes, usageBytes: storage.usage_bytes, persisted: storage.persisted },
    connection: connection && { downlinkMbps: connection.downlink_mbps, rttMs: connection.rtt_ms, saveData: connection.save_data },
    deviceMemoryGib: profile.device_memory_gib,
    rates: profile.rates,
  };
}
