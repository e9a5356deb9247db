/* A stream of plain reads: what memory gives this device at best, to measure other kernels and devices against. */
#include "featherweight_kernels.h"

typedef uint32_t u32x4 __attribute__((vector_size(16)));

EXPORT uint32_t fw_read_sum(const uint32_t *words, uint32_t count) {
  const u32x4 *at = (const u32x4 *)words;
  u32x4 first = {0}, second = {0}, third = {0}, fourth = {0}; /* four chains hide the latency of one addition */
  for (uint32_t i = 0; i < count / 4; i += 4) {
    first += at[i];
    second += at[i + 1];
    third += at[i + 2];
    fourth += at[i + 3];
  }
  u32x4 sum = (first + second) + (third + fourth);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}
