// A joint of an instance in the temporal branches: what both directions share, and the gradients of the samples.
#pragma once

#include "product.h"

#include <algorithm>
#include <cmath>

namespace bharnet {

constexpr int ETA = 4;        // samples of a deformable convolution
// The least multiple of 16 that is not below n.
inline int64_t whole(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

constexpr int64_t SLACK = 48;  // floats that may be read or written past a row

inline vec most(vec a, vec b) { return (a > b) | (a != a) ? a : b; }
inline vec leaky(vec v, float slope) { return v > 0 ? v : v * slope; }

// Every stride-th (1 or 2) of the floats from p.
inline vec every(const float* p, int64_t stride) {
  if (stride == 1) return load(p);
  const vec a = load(p), b = load(p + LANES);
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

// a and b in turn: the even and the odd of 32 floats.
inline void store_in_turn(float* p, vec a, vec b) {
  store(p, __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
  store(p + LANES, __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
}

// What temporal.py hands over, in this order. 4·Q channels; weights (Q, Q, 4), offsets (4).
struct Temporal {
  int64_t P, Q, V, T, stride;
  float slope;
  const float *weight, *bias;                                     // of the norm, (3·Q)
  const float *near_weight, *near_offset, *far_weight, *far_offset;  // offsets bounded to the clip

  int64_t frames() const { return (T + stride - 1) / stride; }
  // In multiply-adds that take as long; the gradient takes two and a half times as long.
  double work() const { return double(P) * V * frames() * (16. * Q * Q + 150. * Q); }
};

// A deformable convolution's weight in the order of a product, and of its transpose.
struct Branch {
  std::vector<float> packed, transposed, zeros;
  int64_t depth, low[ETA];
  float share[ETA];
  Weight forward, backward;

  Branch(int64_t q, const float* weight, const float* offset) : depth(q * ETA) {
    const int64_t rows = whole(q), columns = whole(depth);
    packed.resize(rows * depth);
    transposed.resize(columns * q);
    zeros.resize(std::max(rows, columns));
    for (int64_t o = 0; o < q; ++o)
      for (int64_t d = 0; d < depth; ++d) {
        packed[(o / LANES * depth + d) * LANES + o % LANES] = weight[o * depth + d];
        transposed[(d / LANES * q + o) * LANES + d % LANES] = weight[o * depth + d];
      }
    forward = {packed.data(), zeros.data(), q, depth, 1};
    backward = {transposed.data(), zeros.data(), depth, q, 1};
    for (int r = 0; r < ETA; ++r) {
      const float floor = std::floor(offset[r]);
      low[r] = floor == floor ? int64_t(floor) : 0;
      share[r] = offset[r] - floor;  // not a number if the offset is not
    }
  }

  int64_t least() const { return *std::min_element(low, low + ETA); }
  // Frames from the first sample to the last, and one.
  int64_t reach() const { return *std::max_element(low, low + ETA) - least() + 1; }
};

struct Joint {
  const Temporal& s;
  const Branch &near, &far;
  int64_t first = -1, last;  // frames of a padded row

  Joint(const Temporal& temporal, const Branch& a, const Branch& b)
      : s(temporal), near(a), far(b), last(temporal.T) {
    for (const Branch* branch : {&near, &far})
      for (int64_t low : branch->low) {
        first = std::min(first, low);
        last = std::max(last, (s.frames() - 1) * s.stride + low + 1);
      }
  }

  int64_t wide() const { return last - first + 1 + SLACK; }

  // Asks for the rows of the next joint, which the memory's own prediction does not see.
  template <typename T>
  void expect(const T* next, int64_t channels, int64_t frames) const {
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t t = 0; t < frames; t += 64 / sizeof(T)) __builtin_prefetch(next + c * s.V * frames + t, 0, 2);
  }

  // Activated rows with their ends repeated; `to` is frame 0 of the first row.
  template <typename T>
  void activate(const T* u, const float* scale, const float* shift, float* to) const {
    for (int64_t c = 0; c < 3 * s.Q; ++c, to += wide()) {
      const T* row = u + c * s.V * s.T;
      each_vector(s.T, [=, this](int64_t i, int n) {
        store(to + i, leaky(get(row + i, n) * scale[c] + shift[c], s.slope));
      });
      for (int64_t t = first; t < 0; ++t) to[t] = to[0];
      for (int64_t t = s.T; t <= last + 1; ++t) to[t] = to[s.T - 1];
    }
  }

  // Interpolated samples (Q·4 rows) of activated rows.
  void sample(const Branch& branch, const float* h, float* to, int64_t pitch) const {
    for (int64_t c = 0; c < s.Q; ++c, h += wide())
      for (int r = 0; r < ETA; ++r, to += pitch) {
        const float* from = h + branch.low[r];
        const float share = branch.share[r];
        each_vector(s.frames(), [=, this](int64_t i, int) {
          const vec a = every(from + i * s.stride, s.stride);
          const vec b = every(from + i * s.stride + 1, s.stride);
          store(to + i, a + (b - a) * share);
        });
      }
  }

  // Gradient of a deformable convolution's input, added to activated rows gh; `back` has room for its samples' gradient.
  // `tilt` gets the gradients of the offsets.
  void scatter(const Branch& branch, const float* gz, int64_t pitch, float* back, const float* h, float* gh,
               double* tilt) const {
    // A row with zeros on both sides, so that a frame can read what all samples give it without a test.
    const int64_t frames = s.frames(), margin = branch.reach(), own = frames + 2 * margin + SLACK;
    for (int64_t d = 0; d < s.Q * ETA; ++d) {
      std::fill_n(back + d * own, margin, 0.f);
      std::fill_n(back + d * own + margin + frames, margin + LANES, 0.f);
    }
    back += margin;
    product(branch.backward, gz, pitch, 1, frames, back, own);
    vec tilts[ETA] = {};
    for (int64_t c = 0; c < s.Q; ++c, h += wide(), gh += wide(), back += ETA * own) {
      for (int r = 0; r < ETA; ++r)
        each_vector(frames, [&, r](int64_t t, int n) {
          const vec g = load(back + r * own + t);  // zeros past the end
          const float* at = h + branch.low[r] + t * s.stride;
          vec step = every(at + 1, s.stride) - every(at, s.stride);
          if (n < LANES) step = first_lanes(step, n);
          tilts[r] += g * step;
          if (s.stride == 1) return;
          float* out = gh + branch.low[r] + t * s.stride;
          vec even = g * (1 - branch.share[r]), odd = g * branch.share[r];
          vec both[2];
          store_in_turn((float*)both, even, odd);
          store(out, load(out) + both[0]);
          store(out + LANES, load(out + LANES) + both[1]);
        });
      if (s.stride > 1) continue;
      const int64_t first = branch.least();
      each_vector(frames + margin, [&](int64_t i, int) {
        vec total = {};
        for (int r = 0; r < ETA; ++r) {
          const float* g = back + r * own + first + i - branch.low[r];
          total += load(g) * (1 - branch.share[r]) + load(g - 1) * branch.share[r];
        }
        store(gh + first + i, total);
      });
    }
    for (int r = 0; r < ETA; ++r) tilt[r] += sum(tilts[r]);
  }

  // Gradient of the maximum of three frames: to the frame itself if it is the largest, otherwise to the one before,
  // otherwise to the one after. `room` has space for three rows.
  void back_to_largest(const float* row, const float* g, float* room, float* out) const {
    const int64_t frames = s.frames();
    float *before = room, *after = room + frames + SLACK;  // what frame t gives to its neighbours
    after[0] = 0;
    ++after;
    auto itself = [&](int64_t t, int n) {
      const float* at = row + t * s.stride;
      const vec left = every(at - 1, s.stride), here = every(at, s.stride), right = every(at + 1, s.stride);
      vec largest = left < here ? here : left;
      largest = largest < right ? right : largest;
      const vec given = n == LANES ? load(g + t) : load(g + t, n), none = {};
      const vec others = here >= largest ? none : given;
      store(before + t, left >= largest ? others : none);
      store(after + t, left >= largest ? none : others);
      return here >= largest ? given : none;
    };
    if (s.stride == 1) {
      each_vector(frames, [&](int64_t t, int n) { store(out + t, itself(t, n)); });
      store(before + frames, vec{});
      store(after + frames, vec{});
      // Frame t has what t + 1 gives to the one before, and t - 1 to the one after.
      each_vector(frames, [&](int64_t t, int) {
        store(out + t, load(out + t) + load(before + t + 1) + load(after + t - 1));
      });
      out[-1] = before[0], out[frames] = after[frames - 1];
      return;
    }
    float* own = after + frames + SLACK;
    each_vector(frames, [&](int64_t t, int n) { store(own + t, itself(t, n)); });
    store(before + frames, vec{});
    each_vector(frames, [&](int64_t t, int) {
      store_in_turn(out + t * s.stride, load(own + t), load(after + t) + load(before + t + 1));
    });
    out[-1] = before[0];
  }
};

}  // namespace bharnet
