// Vectors of 16 floats (AVX-512), and features in float32 or bfloat16 that are read into them.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>

namespace bharnet {

constexpr int LANES = 16;
// Multiply-adds, two milliseconds of one core, below which waking other threads costs more than it saves.
constexpr double PARALLEL_WORK = 1.5e8;
typedef float vec __attribute__((vector_size(64)));
typedef float vec4 __attribute__((vector_size(16)));
typedef float vec8 __attribute__((vector_size(32)));
typedef int32_t ivec __attribute__((vector_size(64)));
typedef uint32_t uvec __attribute__((vector_size(64)));
typedef uint16_t hvec __attribute__((vector_size(32)));

struct bf16 {
  uint16_t bits;
};

inline vec splat(float x) { return vec{} + x; }

inline vec load(const float* p) {
  vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline vec load(const bf16* p) {
  hvec h;
  std::memcpy(&h, p, sizeof h);
  return (vec)(__builtin_convertvector(h, uvec) << 16);
}

// A vector that is used several times. Without this, the compiler loads it again for each use, and a core can load no
// more vectors than it can multiply.
inline vec held(const float* p) {
  vec v = load(p);
  asm("" : "+v"(v));
  return v;
}

inline void store(float* p, vec v) { std::memcpy(p, &v, sizeof v); }

inline void store(bf16* p, vec v) {
  uvec u = (uvec)v;
  u += 0x7fff + ((u >> 16) & 1);  // to nearest, ties to even
  u = v == v ? u : uvec{} + 0x7fc00000u;  // rounding could carry a NaN into infinity
  hvec h = __builtin_convertvector(u >> 16, hvec);
  std::memcpy(p, &h, sizeof h);
}

// The first n < LANES elements; zeros in the rest.
inline vec load(const float* p, int n) { return (vec)_mm512_maskz_loadu_ps((1u << n) - 1, p); }

inline vec load(const bf16* p, int n) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16((1u << n) - 1, p));
  return (vec)_mm512_slli_epi32(wide, 16);
}

inline void store(float* p, vec v, int n) { _mm512_mask_storeu_ps(p, (1u << n) - 1, (__m512)v); }

inline void store(bf16* p, vec v, int n) {
  bf16 all[LANES];
  store(all, v);
  __m256i h;
  std::memcpy(&h, all, sizeof h);
  _mm256_mask_storeu_epi16(p, (1u << n) - 1, h);
}

// Calls f(offset, number of elements) for vectors of a row; the number is a constant but at the end.
template <typename F>
inline void each_vector(int64_t n, F f) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) f(i, LANES);
  if (i < n) f(i, int(n - i));
}

template <typename T>
inline vec get(const T* p, int n) {
  return n == LANES ? load(p) : load(p, n);
}

template <typename T>
inline void put(T* p, vec v, int n) {
  n == LANES ? store(p, v) : store(p, v, n);
}

// The first n elements, zeros in the rest.
inline vec first_lanes(vec v, int n) {
  return (vec)_mm512_maskz_mov_ps((1u << n) - 1, (__m512)v);
}

inline float sum(vec v) {
  vec8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
           __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  vec4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}

// Four elements of a row of features, of which the first n are there.
inline vec4 load4(const float* p, int n) {
  vec4 v = {};
  n == 4 ? std::memcpy(&v, p, sizeof v) : std::memcpy(&v, p, n * sizeof(float));
  return v;
}

inline vec4 load4(const bf16* p, int n) {
  uint16_t __attribute__((vector_size(8))) h = {};
  n == 4 ? std::memcpy(&h, p, sizeof h) : std::memcpy(&h, p, n * sizeof(bf16));
  typedef uint32_t uvec4 __attribute__((vector_size(16)));
  return (vec4)(__builtin_convertvector(h, uvec4) << 16);
}

// Four vectors over 16 rows -> the rows' four elements, row after row; and back.
inline void to_rows(const vec* t, vec* rows) {
  for (int half = 0; half < 2; ++half) {
    vec even, odd;  // elements 0 and 1, 2 and 3, of eight rows
    if (half == 0) {
      even = __builtin_shufflevector(t[0], t[1], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      odd = __builtin_shufflevector(t[2], t[3], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    } else {
      even = __builtin_shufflevector(t[0], t[1], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      odd = __builtin_shufflevector(t[2], t[3], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    rows[2 * half] = __builtin_shufflevector(even, odd, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23);
    rows[2 * half + 1] =
        __builtin_shufflevector(even, odd, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31);
  }
}

inline void from_rows(const vec* rows, vec* t) {
  vec even[2], odd[2];
  for (int half = 0; half < 2; ++half) {
    vec a = rows[2 * half], b = rows[2 * half + 1];
    even[half] = __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29);
    odd[half] = __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
  }
  t[0] = __builtin_shufflevector(even[0], even[1], 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  t[1] = __builtin_shufflevector(even[0], even[1], 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  t[2] = __builtin_shufflevector(odd[0], odd[1], 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  t[3] = __builtin_shufflevector(odd[0], odd[1], 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

// 16 rows of 16 elements -> columns.
inline void transpose(vec* a) {
  vec b[LANES];
  for (int i = 0; i < LANES; i += 2) {  // pairs of elements
    b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
    b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  }
  for (int i = 0; i < LANES; i += 4)  // fours of elements: a[i + j] has column j of each four
    for (int j = 0; j < 2; ++j) {
      const vec x = b[i + j], y = b[i + 2 + j];
      a[i + 2 * j] = __builtin_shufflevector(x, y, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      a[i + 2 * j + 1] = __builtin_shufflevector(x, y, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
  for (int j = 0; j < 4; ++j) {  // a[4 k + j]: rows 4 k to 4 k + 3; its quarter m is column 4 m + j
    const vec w = a[j], x = a[4 + j], y = a[8 + j], z = a[12 + j];
    const vec wx0 = __builtin_shufflevector(w, x, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    const vec wx1 = __builtin_shufflevector(w, x, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    const vec yz0 = __builtin_shufflevector(y, z, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
    const vec yz1 = __builtin_shufflevector(y, z, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    b[j] = __builtin_shufflevector(wx0, yz0, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    b[4 + j] = __builtin_shufflevector(wx0, yz0, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    b[8 + j] = __builtin_shufflevector(wx1, yz1, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    b[12 + j] = __builtin_shufflevector(wx1, yz1, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  }
  for (int i = 0; i < LANES; ++i) a[i] = b[i];
}

// tanh to 2e-7: 1 - 2 / (exp(2|x|) + 1), and its series near 0, where that would cancel.
inline vec tanh(vec x) {
  const vec size = x < 0 ? -x : x;
  const vec z = 2 * (size > 10 ? splat(10) : size);  // tanh(10) rounds to 1; a NaN stays one
  const vec whole = __builtin_convertvector(__builtin_convertvector(z * 1.44269504f + 0.5f, ivec), vec);
  const vec r = z - whole * 0.693145752f - whole * 1.42860677e-6f;  // ln 2 in two parts
  vec e = splat(1.f / 5040);
  for (float c : {1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 1.f / 2, 1.f, 1.f}) e = e * r + c;
  e *= (vec)((__builtin_convertvector(whole, ivec) + 127) << 23);
  const vec far = 1 - 2 / (e + 1), square = x * x;
  vec near = splat(62.f / 2835);
  for (float c : {-17.f / 315, 2.f / 15, -1.f / 3, 1.f}) near = near * square + c;
  return size < 0.25f ? near * x : x < 0 ? -far : far;
}

}  // namespace bharnet
