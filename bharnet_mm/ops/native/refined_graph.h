// Shapes, packed operands and the steps that both directions of the refined graph convolution share.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <type_traits>
#include <vector>

#include "vec.h"

namespace bharnet {

constexpr int S = 3;  // subsets

// P instances, G groups; a group's C channels in, O out, R relation channels a subset; V joints, T frames.
struct Shape {
  int64_t P, G, C, O, R, V, T;

  // Multiply-adds, without the topology's.
  double work() const { return double(P) * G * V * T * S * O * (C + V); }
  int64_t senders() const { return S * V; }
  int64_t frames4() const { return (T + 3) / 4; }
  int64_t padded() const { return frames4() * 4 * V; }
  int64_t relations() const { return S * R * V * V; }
  int64_t blocks() const { return (O + LANES - 1) / LANES; }
  int lanes(int64_t block) const { return int(std::min<int64_t>(LANES, O - block * LANES)); }
  int64_t depth() const { return S * R + 1 + S; }  // columns of W

  // Calls f(first, constant) for the receivers in runs of up to six, of sizes as equal as can be.
  template <typename F>
  void each_receivers(F f) const {
    const int64_t runs = (V + 5) / 6;
    for (int64_t i = 0; i < runs; ++i) {
      const int64_t u = i * V / runs;
      switch ((i + 1) * V / runs - u) {
        case 1: f(u, std::integral_constant<int, 1>()); break;
        case 2: f(u, std::integral_constant<int, 2>()); break;
        case 3: f(u, std::integral_constant<int, 3>()); break;
        case 4: f(u, std::integral_constant<int, 4>()); break;
        case 5: f(u, std::integral_constant<int, 5>()); break;
        case 6: f(u, std::integral_constant<int, 6>()); break;
      }
    }
  }
};

struct Free {
  void operator()(float* p) const { std::free(p); }
};

// Memory of a thread, kept between calls. Who is called meanwhile takes other slots.
class Scratch {
 public:
  explicit Scratch(int first = 0) : next_(first) {}

  float* take(int64_t floats) {
    auto& [held, memory] = slots()[next_++];
    if (held < floats) {
      memory.reset(static_cast<float*>(std::aligned_alloc(64, (floats * 4 + 63) / 64 * 64)));
      held = floats;
    }
    return memory.get();
  }

 private:
  using Slot = std::pair<int64_t, std::unique_ptr<float, Free>>;
  static Slot* slots() {
    thread_local Slot all[13];  // 9 of a gradient; 5 of a forward pass, 8 to 12 of a block around it
    return all;
  }
  int next_ = 0;
};

// The weights with 16 channels as lanes, zeros where there are fewer.
struct Packed {
  std::vector<float> u, b, w, ut, wt;

  Packed() = default;
  Packed(const Shape& s, const float* value, const float* bias, const float* refine, bool transposed)
      : u(s.G * s.blocks() * S * s.C * LANES), b(s.G * s.blocks() * S * LANES),
        w(s.G * s.blocks() * S * (s.R + 2) * LANES) {
    const int64_t channels16 = (s.C + LANES - 1) / LANES;
    if (transposed) {
      ut.resize(s.G * channels16 * s.O * S * LANES);
      wt.resize(s.G * s.O * S * LANES);
    }
    for (int64_t g = 0; g < s.G; ++g)
      for (int64_t o = 0; o < s.O; ++o)
        for (int q = 0; q < S; ++q) {
          const int64_t row = (g * s.O + o) * S + q, lane = o % LANES;
          const int64_t at = (g * s.blocks() + o / LANES) * S + q;
          for (int64_t c = 0; c < s.C; ++c) {
            u[(at * s.C + c) * LANES + lane] = value[row * s.C + c];
            if (transposed)
              ut[(((g * channels16 + c / LANES) * s.O + o) * S + q) * LANES + c % LANES] =
                  value[row * s.C + c];
          }
          b[at * LANES + lane] = bias[row];
          // Columns of the own subset: relation, bias, adjacency. All others are zero.
          for (int64_t r = 0; r < s.R + 2; ++r) {
            const int64_t column = r < s.R ? q * s.R + r : r == s.R ? S * s.R : S * s.R + 1 + q;
            const float weight = refine[row * s.depth() + column];
            w[(at * (s.R + 2) + r) * LANES + lane] = weight;
            if (transposed && r != s.R) wt[row * LANES + std::min(r, s.R)] = weight;
          }
        }
  }

  const float* value(const Shape& s, int64_t g, int64_t ob) const {
    return u.data() + (g * s.blocks() + ob) * S * s.C * LANES;
  }
  const float* bias(const Shape& s, int64_t g, int64_t ob) const {
    return b.data() + (g * s.blocks() + ob) * S * LANES;
  }
  const float* refine(const Shape& s, int64_t g, int64_t ob) const {
    return w.data() + (g * s.blocks() + ob) * S * (s.R + 2) * LANES;
  }
  const float* transposed_value(const Shape& s, int64_t g, int64_t cb, int64_t ob) const {
    const int64_t channels16 = (s.C + LANES - 1) / LANES;
    return ut.data() + ((g * channels16 + cb) * s.O + ob * LANES) * S * LANES;
  }
  const float* transposed_refine(const Shape& s, int64_t g, int64_t ob) const {
    return wt.data() + (g * s.O + ob * LANES) * S * LANES;
  }
};

// Sums over instances of the gradients of all that they share, in the order of Packed.
struct Sums {
  float* data;

  static int64_t cells(const Shape& s) { return s.G * s.blocks() * S * LANES; }
  static int64_t size(const Shape& s) { return cells(s) * (s.C + s.R + 2) + S * s.V * s.V; }
  float* value(const Shape& s, int64_t g, int64_t ob) const {
    return data + (g * s.blocks() + ob) * S * s.C * LANES;
  }
  float* refine(const Shape& s, int64_t g, int64_t ob) const {
    return data + cells(s) * s.C + (g * s.blocks() + ob) * S * (s.R + 1) * LANES;
  }
  float* bias(const Shape& s, int64_t g, int64_t ob) const {
    return data + cells(s) * (s.C + s.R + 1) + (g * s.blocks() + ob) * S * LANES;
  }
  float* adjacency(const Shape& s) const { return data + cells(s) * (s.C + s.R + 2); }

  void unpack(const Shape& s, float* gvalue, float* gbias, float* grefine, float* gadjacency) const {
    for (int64_t g = 0; g < s.G; ++g)
      for (int64_t o = 0; o < s.O; ++o)
        for (int q = 0; q < S; ++q) {
          const int64_t row = (g * s.O + o) * S + q, ob = o / LANES, lane = o % LANES;
          for (int64_t c = 0; c < s.C; ++c)
            gvalue[row * s.C + c] = value(s, g, ob)[(q * s.C + c) * LANES + lane];
          gbias[row] = bias(s, g, ob)[q * LANES + lane];
          for (int64_t r = 0; r <= s.R; ++r)
            grefine[row * s.depth() + (r < s.R ? q * s.R + r : S * s.R)] =
                refine(s, g, ob)[(q * (s.R + 1) + r) * LANES + lane];
        }
    std::copy_n(adjacency(s), S * s.V * s.V, gadjacency);
  }
};

// tanh(query - key) as [subset, channel, sender, receiver]; writes up to 15 floats past its end.
inline void relation(const Shape& s, const float* query, const float* key, float* rel) {
  for (int64_t d = 0; d < S * s.R; ++d)
    for (int64_t u = 0; u < s.V; u += LANES) {
      const int n = int(std::min<int64_t>(LANES, s.V - u));
      const vec q = load(query + d * s.V + u, n);
      for (int64_t v = 0; v < s.V; ++v) {
        const vec value = tanh(q - key[d * s.V + v]);
        float* out = rel + (d * s.V + v) * s.V + u;
        n == LANES ? store(out, value) : store(out, value, n);
      }
    }
}

// (C, V, T) -> [block of four frames, joint, channel, frame]; zeros past the last frame.
template <typename T>
inline void pack_features(const Shape& s, const T* x, float* xp) {
  const int64_t pitch = s.V * s.C * 4;
  for (int64_t c = 0; c < s.C; ++c)
    for (int64_t v = 0; v < s.V; ++v)
      for (int64_t t = 0; t < s.T; t += LANES) {
        const T* row = x + (c * s.V + v) * s.T + t;
        const vec line = s.T - t >= LANES ? load(row) : load(row, int(s.T - t));
        float* to = xp + t / 4 * pitch + (v * s.C + c) * 4;
        const vec4 parts[4] = {
            __builtin_shufflevector(line, line, 0, 1, 2, 3), __builtin_shufflevector(line, line, 4, 5, 6, 7),
            __builtin_shufflevector(line, line, 8, 9, 10, 11),
            __builtin_shufflevector(line, line, 12, 13, 14, 15)};
        const int n = int(std::min<int64_t>(4, s.frames4() - t / 4));
        for (int i = 0; i < n; ++i) std::memcpy(to + i * pitch, parts + i, sizeof(vec4));
      }
}

// W rel of 16 channels, for each run of receivers as [subset and sender, receiver].
inline void topology(const Shape& s, const Packed& w, int64_t g, int64_t ob, const float* rel,
                     const float* adjacency, float* top) {
  const float* refine = w.refine(s, g, ob);
  s.each_receivers([&](int64_t u, auto count) {
    constexpr int NU = decltype(count)::value;
    float* out = top + u * s.senders() * LANES;
    for (int q = 0; q < S; ++q) {
      const float* weight = refine + q * (s.R + 2) * LANES;
      const vec constant = load(weight + s.R * LANES), own = load(weight + (s.R + 1) * LANES);
      for (int64_t v = 0; v < s.V; ++v, out += NU * LANES) {
        vec acc[NU];
        for (int i = 0; i < NU; ++i)
          acc[i] = constant + own * adjacency[(q * s.V + u + i) * s.V + v];
        for (int64_t r = 0; r < s.R; ++r) {
          const vec a = load(weight + r * LANES);
          const float* row = rel + ((q * s.R + r) * s.V + v) * s.V + u;
          for (int i = 0; i < NU; ++i) acc[i] += a * row[i];
        }
        for (int i = 0; i < NU; ++i) store(out + i * LANES, acc[i]);
      }
    }
  });
}

// U x + b of 16 channels, four frames and N joints, as [subset and sender, frame].
template <int N>
inline void values(const Shape& s, const float* value, const float* bias, const float* xp, int64_t v,
                   float* val) {
  vec acc[N][S][4];
  for (int i = 0; i < N; ++i)
    for (int q = 0; q < S; ++q)
      for (int j = 0; j < 4; ++j) acc[i][q][j] = load(bias + q * LANES);
  const float* x = xp + v * 4 * s.C;
  for (int64_t c = 0; c < s.C; ++c)
    for (int q = 0; q < S; ++q) {
      const vec a = held(value + (q * s.C + c) * LANES);
      for (int i = 0; i < N; ++i)
        for (int j = 0; j < 4; ++j) acc[i][q][j] += a * x[4 * (i * s.C + c) + j];
    }
  for (int i = 0; i < N; ++i)
    for (int q = 0; q < S; ++q)
      for (int j = 0; j < 4; ++j) store(val + ((q * s.V + v + i) * 4 + j) * LANES, acc[i][q][j]);
}

inline void values(const Shape& s, const Packed& w, int64_t g, int64_t ob, const float* xp,
                   float* val) {
  const float *bias = w.bias(s, g, ob), *value = w.value(s, g, ob);
  int64_t v = 0;
  for (; v + 2 <= s.V; v += 2) values<2>(s, value, bias, xp, v, val);
  if (v < s.V) values<1>(s, value, bias, xp, v, val);
}

// Frames of a tile: a row of it is a line of the cache in float32.
constexpr int64_t TILE = 4;  // blocks of four

// Up to 16 rows of n frames each <-> a tile, with the rows as lanes, four frames and then the next block.
template <typename T>
inline void get_tile(const T* in, int64_t stride, int rows, int n, float* to, int64_t block) {
  vec a[LANES];
  for (int o = 0; o < LANES; ++o)
    a[o] = o >= rows ? vec{} : n == LANES ? load(in + o * stride) : load(in + o * stride, n);
  transpose(a);
  for (int j = 0; j < LANES; ++j) store(to + j / 4 * block + j % 4 * LANES, a[j]);
}

template <typename T>
inline void put_tile(const float* from, int64_t block, T* out, int64_t stride, int rows, int n, bool add) {
  vec a[LANES];
  for (int j = 0; j < LANES; ++j) a[j] = load(from + j / 4 * block + j % 4 * LANES);
  transpose(a);
  for (int o = 0; o < rows; ++o, out += stride)
    if (n == LANES)
      store(out, add ? load(out) + a[o] : a[o]);
    else
      store(out, add ? load(out, n) + a[o] : a[o], n);
}

// Four frames of up to 16 channels, from lanes to where they lie in memory, or added there.
template <typename T>
inline void put_rows(const vec (&t)[4], T* out, int64_t stride, int rows, int n, bool add) {
  vec lines[4];
  to_rows(t, lines);
  if (add) {
    float flat[4 * LANES] = {};
    for (int o = 0; o < rows; ++o) {
      const vec4 four = load4(out + o * stride, n);
      std::memcpy(flat + 4 * o, &four, sizeof four);
    }
    for (int i = 0; i < 4; ++i) lines[i] += load(flat + i * LANES);
  }
  T flat[4 * LANES];
  for (int i = 0; i < 4; ++i) store(flat + i * LANES, lines[i]);
  for (int o = 0; o < rows; ++o) {
    if (n == 4)
      std::memcpy(out + o * stride, flat + 4 * o, 4 * sizeof(T));
    else
      std::memcpy(out + o * stride, flat + 4 * o, n * sizeof(T));
  }
}

template <typename T>
inline void get_rows(const T* in, int64_t stride, int rows, int n, float* to) {
  float flat[4 * LANES] = {};
  for (int o = 0; o < rows; ++o) {
    const vec4 four = load4(in + o * stride, n);
    std::memcpy(flat + 4 * o, &four, sizeof four);
  }
  const vec lines[4] = {load(flat), load(flat + LANES), load(flat + 2 * LANES), load(flat + 3 * LANES)};
  vec t[4];
  from_rows(lines, t);
  for (int j = 0; j < 4; ++j) store(to + j * LANES, t[j]);
}

// y of NU receivers and four frames, a product over senders.
template <int NU>
inline void aggregate(const Shape& s, const float* top, const float* val, float* y) {
  vec acc[NU][4] = {};
  for (int64_t k = 0; k < s.senders(); ++k, top += NU * LANES, val += 4 * LANES) {
    vec b[4];
    for (int j = 0; j < 4; ++j) b[j] = held(val + j * LANES);
    for (int i = 0; i < NU; ++i) {
      const vec a = held(top + i * LANES);
      for (int j = 0; j < 4; ++j) acc[i][j] += a * b[j];
    }
  }
  for (int i = 0; i < NU; ++i)
    for (int j = 0; j < 4; ++j) store(y + (i * 4 + j) * LANES, acc[i][j]);
}

template <typename T>
void forward_group(const Shape& s, const Packed& w, int64_t g, const T* x, const float* query,
                   const float* key, const float* adjacency, bool add, T* y) {
  Scratch scratch;
  float* rel = scratch.take(s.relations() + LANES);
  float* xp = scratch.take(s.padded() * s.C);
  float* top = scratch.take(s.senders() * s.V * LANES);
  float* val = scratch.take(TILE * s.senders() * 4 * LANES);
  float* tile = scratch.take(s.V * 4 * TILE * LANES);
  relation(s, query, key, rel);
  pack_features(s, x, xp);
  for (int64_t ob = 0; ob < s.blocks(); ++ob) {
    topology(s, w, g, ob, rel, adjacency, top);
    for (int64_t start = 0; start < s.frames4(); start += TILE) {
      const int64_t blocks = std::min(TILE, s.frames4() - start);
      for (int64_t tb = 0; tb < blocks; ++tb)
        values(s, w, g, ob, xp + (start + tb) * s.V * s.C * 4, val + tb * s.senders() * 4 * LANES);
      s.each_receivers([&](int64_t u, auto count) {  // whose topology stays in the first cache
        for (int64_t tb = 0; tb < blocks; ++tb)
          aggregate<decltype(count)::value>(s, top + u * s.senders() * LANES,
                                            val + tb * s.senders() * 4 * LANES,
                                            tile + (tb * s.V + u) * 4 * LANES);
      });
      for (int64_t u = 0; u < s.V; ++u)
        put_tile(tile + u * 4 * LANES, s.V * 4 * LANES, y + (ob * LANES * s.V + u) * s.T + 4 * start,
                 s.V * s.T, s.lanes(ob), int(std::min<int64_t>(LANES, s.T - 4 * start)), add);
    }
  }
}

}  // namespace bharnet
