/* Owns the 128-bit vectors of every kernel: clang vector types, plus the few instructions that C cannot express. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#if defined(__wasm__)
#include <wasm_simd128.h>
#endif

#define INLINE static inline __attribute__((always_inline, unused))

/* One variant of a kernel, as a function of its own: browsers compile hot functions well while slow code still runs, and
   one with all variants in it would keep a first answer waiting for those that nobody needs. */
#define VARIANT static __attribute__((noinline, unused))

/* Hides where a pointer comes from. Without it clang computes each address of a loop from one counter, which takes an
   addition per load; from a pointer of its own, a load has its constant offset in the instruction. */
#define OPAQUE(pointer) __asm__("" : "+r"(pointer))

/* Keeps a constant vector in a register: some engines make a constant anew wherever it is used. */
#if defined(__wasm__)
#define KEEP(vector) OPAQUE(vector)
#else
#define KEEP(vector) (void)0
#endif

/* Values that pass here are computed in this order. Clang else sorts straight code by what it adds up, which keeps more
   vectors alive than there are registers; engines compute in the order that they find. */
#if defined(__wasm__)
#define IN_ORDER(value) __asm__ volatile("" : "+r"(value))
#else
#define IN_ORDER(value) (void)0
#endif

typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef int16_t i16x8 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef int16_t i16x4 __attribute__((vector_size(8)));
typedef int8_t i8x8 __attribute__((vector_size(8)));
typedef int8_t i8x16 __attribute__((vector_size(16)));

INLINE f32x4 load_f32x4(const float *p) {
  f32x4 v;
  __builtin_memcpy(&v, p, 16);
  return v;
}

INLINE void store_f32x4(float *p, f32x4 v) { __builtin_memcpy(p, &v, 16); }

INLINE u16x8 load_u16x8(const void *p) {
  u16x8 v;
  __builtin_memcpy(&v, p, 16);
  return v;
}

INLINE f32x4 splat_f32(float x) { return (f32x4){x, x, x, x}; }

INLINE f32x4 load_splat_f32(const void *p) {
  float x;
  __builtin_memcpy(&x, p, 4);
  return splat_f32(x);
}

INLINE i32x4 load_splat_i32(const void *p) {
  int32_t x;
  __builtin_memcpy(&x, p, 4);
  return (i32x4){x, x, x, x};
}

INLINE f32x4 to_f32x4(i32x4 v) { return __builtin_convertvector(v, f32x4); }

/* a * b + c, fused where the machine has it. */
INLINE f32x4 madd(f32x4 a, f32x4 b, f32x4 c) {
#if defined(__wasm_relaxed_simd__)
  return (f32x4)wasm_f32x4_relaxed_madd((v128_t)a, (v128_t)b, (v128_t)c);
#else
  return a * b + c;
#endif
}

/* Products of neighbouring lanes, added in pairs. */
INLINE i32x4 dot_i16x8(i16x8 a, i16x8 b) {
#if defined(__wasm__)
  return (i32x4)wasm_i32x4_dot_i16x8((v128_t)a, (v128_t)b);
#elif defined(__SSE2__)
  return (i32x4)__builtin_ia32_pmaddwd128(a, b);
#else
  i32x4 r;
  for (int i = 0; i < 4; i++) r[i] = a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
  return r;
#endif
}

/* a * b / 2^15, rounded; b is never -2^15. */
INLINE i16x8 multiply_q15(i16x8 a, i16x8 b) {
#if defined(__wasm_relaxed_simd__)
  return (i16x8)wasm_i16x8_relaxed_q15mulr((v128_t)a, (v128_t)b);
#elif defined(__wasm__)
  return (i16x8)wasm_i16x8_q15mulr_sat((v128_t)a, (v128_t)b);
#elif defined(__SSSE3__)
  return (i16x8)__builtin_ia32_pmulhrsw128(a, b);
#else
  i16x8 r;
  for (int i = 0; i < 8; i++) r[i] = (int16_t)((a[i] * b[i] + (1 << 14)) >> 15);
  return r;
#endif
}

/* Bytes -128...127 times bytes 0...127, neighbours added, where that is one instruction. */
#if defined(__wasm_relaxed_simd__)
#define HAS_DOT_I8X16 1
INLINE i16x8 dot_i8x16(u16x8 a, u16x8 b) {
  return (i16x8)wasm_i16x8_relaxed_dot_i8x16_i7x16((v128_t)a, (v128_t)b);
}
#elif defined(__SSSE3__)
#define HAS_DOT_I8X16 1
INLINE i16x8 dot_i8x16(u16x8 a, u16x8 b) {
  typedef char bytes __attribute__((vector_size(16)));
  return (i16x8)__builtin_ia32_pmaddubsw128((bytes)b, (bytes)a);
}
#else
#define HAS_DOT_I8X16 0
#endif

INLINE i32x4 low_i32x4(i16x8 v) {
  return __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1, 2, 3), i32x4);
}

INLINE i32x4 high_i32x4(i16x8 v) {
  return __builtin_convertvector(__builtin_shufflevector(v, v, 4, 5, 6, 7), i32x4);
}

/* The first and the last 8 bytes times 2^8. */
INLINE i16x8 raise_low_i8x16(i8x16 v) {
  return (i16x8)__builtin_shufflevector((i8x16){0}, v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

INLINE i16x8 raise_high_i8x16(i8x16 v) {
  return (i16x8)__builtin_shufflevector((i8x16){0}, v, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

INLINE i16x8 load_i8x8_as_i16(const void *p) {
#if defined(__wasm__)
  return (i16x8)wasm_i16x8_load8x8(p);
#else
  i8x8 v;
  __builtin_memcpy(&v, p, 8);
  return __builtin_convertvector(v, i16x8);
#endif
}

/* Of a float16 moved up by 13 bits, what a float32 has: sign, 5 bits of exponent, 10 of mantissa. */
#define F16_BITS ((int32_t)0x8fffe000)

/* Four float16 as float32 times 2^-112; finite values only, subnormals included. `keep` is F16_BITS in all lanes. */
INLINE f32x4 load_f16x4_masked(const void *p, i32x4 keep) {
#if defined(__wasm__)
  i32x4 bits = (i32x4)wasm_i32x4_load16x4(p);
#else
  i16x4 v;
  __builtin_memcpy(&v, p, 8);
  i32x4 bits = __builtin_convertvector(v, i32x4);
#endif
  return (f32x4)((bits << 13) & keep);
}

INLINE f32x4 load_f16x4_bits(const void *p) {
  return load_f16x4_masked(p, (i32x4){F16_BITS, F16_BITS, F16_BITS, F16_BITS});
}

INLINE f32x4 load_f16x4(const void *p) { return load_f16x4_bits(p) * splat_f32(0x1p112f); }

/* Two vectors of integers that fit 16 bits, one after the other. */
INLINE i16x8 narrow_i32x4(i32x4 low, i32x4 high) {
#if defined(__wasm__)
  return (i16x8)wasm_i16x8_narrow_i32x4((v128_t)low, (v128_t)high);
#elif defined(__SSE2__)
  return (i16x8)__builtin_ia32_packssdw128(low, high);
#else
  return __builtin_convertvector(__builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7), i16x8);
#endif
}

INLINE float sum_f32x4(f32x4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }

/* The larger lanes; those of b where either is not a number. */
INLINE f32x4 max_f32x4(f32x4 a, f32x4 b) {
#if defined(__wasm__)
  return (f32x4)wasm_f32x4_pmax((v128_t)b, (v128_t)a);
#else
  const i32x4 greater = a > b;
  return (f32x4)(((i32x4)a & greater) | ((i32x4)b & ~greater));
#endif
}

/* The smaller lanes; those of b where either is not a number. */
INLINE f32x4 min_f32x4(f32x4 a, f32x4 b) {
#if defined(__wasm__)
  return (f32x4)wasm_f32x4_pmin((v128_t)b, (v128_t)a);
#else
  const i32x4 less = a < b;
  return (f32x4)(((i32x4)a & less) | ((i32x4)b & ~less));
#endif
}

INLINE float max_of_f32x4(f32x4 v) {
  float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
  return a > b ? a : b;
}

INLINE f32x4 abs_f32x4(f32x4 v) { return (f32x4)((i32x4)v & (i32x4){0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff}); }
