// Products of rows in cache: 16 output rows in the lanes of a vector.
#pragma once

#include "refined_graph.h"

namespace bharnet {

// A product's weight as [16 rows, depth, taps, lane], zeros where rows are missing, and its bias.
struct Weight {
  const float *weight, *bias;
  int64_t rows, depth, taps;
};

// NO·16 rows and 4·NT frames: acc = bias + sum over depth and taps.
template <int NO, int NT, int STRIDE>
inline void tile(const Weight& w, int64_t ob, const float* in, int64_t pitch, vec (&out)[NO][4 * NT]) {
  const int64_t depth = w.depth * w.taps;
  const float* left = w.weight + ob * depth * LANES;
  vec acc[NO][4 * NT];  // not `out`, whose address is taken: these are registers
  for (int o = 0; o < NO; ++o)
    for (int i = 0; i < 4 * NT; ++i) acc[o][i] = load(w.bias + (ob + o) * LANES);
  for (int64_t c = 0; c < w.depth; ++c, in += pitch)
    for (int64_t j = 0; j < w.taps; ++j, left += LANES) {
      vec a[NO];
      for (int o = 0; o < NO; ++o) a[o] = load(left + o * depth * LANES);
      for (int i = 0; i < 4 * NT; ++i)
        for (int o = 0; o < NO; ++o) acc[o][i] += a[o] * in[j + i * STRIDE];
    }
  for (int o = 0; o < NO; ++o)
    for (int i = 0; i < 4 * NT; ++i) out[o][i] = acc[o][i];
}

template <int NO, int STRIDE>
inline void product_rows(const Weight& w, int64_t ob, const float* in, int64_t pitch, int64_t frames, float* out,
                  int64_t out_pitch, bool add) {
  auto put = [&](const vec* acc, int o, int64_t t) {
    const vec four[4] = {acc[0], acc[1], acc[2], acc[3]};
    const int rows = int(std::min<int64_t>(LANES, w.rows - (ob + o) * LANES));
    put_rows(four, out + (ob + o) * LANES * out_pitch + t, out_pitch, rows,
             int(std::min<int64_t>(4, frames - t)), add);
  };
  int64_t t = 0;
  for (; t + 4 < frames; t += 8) {
    vec acc[NO][8];
    tile<NO, 2, STRIDE>(w, ob, in + t * STRIDE, pitch, acc);
    for (int o = 0; o < NO; ++o) put(acc[o], o, t), put(acc[o] + 4, o, t + 4);
  }
  if (t < frames) {
    vec acc[NO][4];
    tile<NO, 1, STRIDE>(w, ob, in + t * STRIDE, pitch, acc);
    for (int o = 0; o < NO; ++o) put(acc[o], o, t);
  }
}

// out[row, t] (+)= bias + sum w[row, c, j] in[c, stride t + j]; reads up to 8 frames too many.
inline void product(const Weight& w, const float* in, int64_t pitch, int64_t stride, int64_t frames, float* out,
             int64_t out_pitch, bool add = false) {
  const int64_t blocks = (w.rows + LANES - 1) / LANES;
  for (int64_t ob = 0; ob < blocks;) {
    const int64_t n = blocks - ob == 4 ? 2 : std::min<int64_t>(3, blocks - ob);
    auto run = [&](auto count) {
      constexpr int NO = decltype(count)::value;
      if (stride == 1)
        product_rows<NO, 1>(w, ob, in, pitch, frames, out, out_pitch, add);
      else
        product_rows<NO, 2>(w, ob, in, pitch, frames, out, out_pitch, add);
    };
    if (n == 1) run(std::integral_constant<int, 1>());
    if (n == 2) run(std::integral_constant<int, 2>());
    if (n == 3) run(std::integral_constant<int, 3>());
    ob += n;
  }
}

}  // namespace bharnet
