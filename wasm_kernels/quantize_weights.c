/* Weights to blocks of codes with one float16 scale each, as MatMulNBits reads them: the converter's hot loop.

   Only in the native library. Bit for bit what convert/quantize/round_to_nearest.py computes: every operation is rounded
   once, in the same order, and none can be fused with another. */
#include "featherweight_kernels.h"
#include "simd.h"

typedef float f32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef uint32_t u32x8 __attribute__((vector_size(32)));
typedef uint16_t u16x8v __attribute__((vector_size(16)));
typedef _Float16 f16x8 __attribute__((vector_size(16)));
typedef uint8_t u8x8 __attribute__((vector_size(8)));
typedef uint8_t u8x4 __attribute__((vector_size(4)));

#define MAX_BLOCK 2048

INLINE f32x8 load(const uint8_t *source, size_t index, uint32_t type) {
  if (type == FW_F32) {
    f32x8 v;
    __builtin_memcpy(&v, source + 4 * index, 32);
    return v;
  }
  u16x8v half;
  __builtin_memcpy(&half, source + 2 * index, 16);
  if (type == FW_BF16) return (f32x8)(__builtin_convertvector(half, u32x8) << 16);
  return __builtin_convertvector((f16x8)half, f32x8);
}

/* Nearest integers, ties to even. */
INLINE i32x8 round_to_even(f32x8 v) {
#if defined(__AVX__)
  return (i32x8)__builtin_ia32_cvtps2dq256(v);
#else
  return __builtin_convertvector(__builtin_elementwise_roundeven(v), i32x8);
#endif
}

INLINE f32x8 pick(i32x8 mask, f32x8 yes, f32x8 no) { return (f32x8)((mask & (i32x8)yes) | (~mask & (i32x8)no)); }

/* The scale of one block as float16 bits; raises *problem to FW_NOT_FINITE or FW_TOO_LARGE. */
INLINE uint16_t block_scale(const uint8_t *source, size_t start, uint32_t type, uint32_t bits, uint32_t block_size,
                            uint32_t *problem) {
  f32x8 highest = load(source, start, type), lowest = highest;
  i32x8 finite = {-1, -1, -1, -1, -1, -1, -1, -1};
  for (uint32_t i = 0; i < block_size; i += 8) {
    f32x8 v = load(source, start + i, type);
    finite &= ((i32x8)v & 0x7fffffff) < 0x7f800000;
    highest = pick(v > highest, v, highest);
    lowest = pick(v < lowest, v, lowest);
  }
  float high = highest[0], low = lowest[0];
  int32_t all = finite[0];
  for (int i = 1; i < 8; i++) {
    high = highest[i] > high ? highest[i] : high;
    low = lowest[i] < low ? lowest[i] : low;
    all &= finite[i];
  }
  if (!all) {
    *problem = FW_NOT_FINITE;
    return 0;
  }
  float exact = (high > -low ? high : low) / (bits == 4 ? -8.0f : -128.0f);
  _Float16 scale = (_Float16)exact;
  if (scale == 0) scale = 0; /* no negative zero */
  uint16_t half;
  __builtin_memcpy(&half, &scale, 2);
  if ((half & 0x7c00) == 0x7c00 && !*problem) *problem = FW_TOO_LARGE;
  return half;
}

INLINE void store_codes(const uint8_t *source, size_t start, uint32_t type, uint32_t bits, uint32_t block_size,
                        uint16_t half, uint8_t *codes) {
  _Float16 scale;
  __builtin_memcpy(&scale, &half, 2);
  const float exact = (float)scale, inverse = exact == 0 ? 0 : 1.0f / exact;
  const int32_t zero = 1 << (bits - 1), top = 2 * zero - 1;
  for (uint32_t i = 0; i < block_size; i += 8) {
    i32x8 code = round_to_even(load(source, start + i, type) * inverse) + zero;
    code = __builtin_elementwise_min(__builtin_elementwise_max(code, (i32x8){0}), (i32x8){0} + top);
    if (bits == 8) {
      u8x8 bytes = __builtin_convertvector(code, u8x8);
      __builtin_memcpy(codes + i, &bytes, 8);
    } else {
      i32x4 even = __builtin_shufflevector(code, code, 0, 2, 4, 6), odd = __builtin_shufflevector(code, code, 1, 3, 5, 7);
      u8x4 bytes = __builtin_convertvector(even | (odd << 4), u8x4);
      __builtin_memcpy(codes + i / 2, &bytes, 4);
    }
  }
}

INLINE uint32_t quantize(const uint8_t *source, uint32_t type, uint32_t rows, uint32_t width, uint32_t bits,
                         uint32_t block_size, uint8_t *codes, uint16_t *scales) {
  const uint32_t item = type == FW_F32 ? 4 : 2, block_bytes = block_size * bits / 8, full = width / block_size;
  uint32_t problem = 0;
  for (uint32_t r = 0; r < rows; r++) {
    const size_t start = (size_t)r * width;
    for (uint32_t b = 0; b < full; b++, codes += block_bytes) {
      const size_t first = start + (size_t)b * block_size;
      *scales = block_scale(source, first, type, bits, block_size, &problem);
      store_codes(source, first, type, bits, block_size, *scales++, codes);
    }
    if (full * block_size == width) continue;
    uint8_t padded[4 * MAX_BLOCK];
    __builtin_memset(padded, 0, block_size * item);
    __builtin_memcpy(padded, source + (start + full * block_size) * item, (size_t)(width - full * block_size) * item);
    *scales = block_scale(padded, 0, type, bits, block_size, &problem);
    store_codes(padded, 0, type, bits, block_size, *scales++, codes);
    codes += block_bytes;
  }
  return problem;
}

EXPORT uint32_t fw_quantize_weights(const void *source, uint32_t type, uint32_t rows, uint32_t width, uint32_t bits,
                                    uint32_t block_size, uint8_t *codes, uint16_t *scales) {
  if (type == FW_F32) return quantize(source, FW_F32, rows, width, bits, block_size, codes, scales);
  if (type == FW_F16) return quantize(source, FW_F16, rows, width, bits, block_size, codes, scales);
  return quantize(source, FW_BF16, rows, width, bits, block_size, codes, scales);
}

#if defined(__x86_64__)
static void cpuid(uint32_t leaf, uint32_t registers[4]) {
  __asm__ volatile("cpuid"
                   : "=a"(registers[0]), "=b"(registers[1]), "=c"(registers[2]), "=d"(registers[3])
                   : "a"(leaf), "c"(0));
}

/* Compiled for the oldest x86-64, since it is asked before anything is known. */
__attribute__((target("arch=x86-64"))) EXPORT uint32_t fw_machine_is_supported(void) {
  const uint32_t fma = 1 << 12, movbe = 1 << 22, osxsave = 1 << 27, avx = 1 << 28, f16c = 1 << 29;
  const uint32_t bmi1 = 1 << 3, avx2 = 1 << 5, bmi2 = 1 << 8, lzcnt = 1 << 5, wanted = fma | movbe | osxsave | avx | f16c;
  uint32_t r[4], low, high;
  cpuid(0, r);
  if (r[0] < 7) return 0;
  cpuid(1, r);
  if ((r[2] & wanted) != wanted) return 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 6) != 6) return 0; /* the system does not keep the wide registers */
  cpuid(7, r);
  if ((r[1] & (bmi1 | avx2 | bmi2)) != (bmi1 | avx2 | bmi2)) return 0;
  cpuid(0x80000001, r);
  return (r[2] & lzcnt) != 0;
}
#else
EXPORT uint32_t fw_machine_is_supported(void) { return 1; }
#endif
