// The temporal branches in training, see temporal.py: batch norm, LeakyReLU, two deformable convolutions, the
// maximum of three frames and a copy, and their gradients.
//
// One joint of one instance at a time, all in the first cache. A deformable convolution interpolates its samples and
// multiplies them by its weight; nothing depends on the size of an offset but how far rows are padded.
#include "product.h"

#include <algorithm>
#include <cmath>

namespace bharnet {
namespace {

constexpr int ETA = 4;        // samples of a deformable convolution
// The least multiple of 16 that is not below n.
inline int64_t whole(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

constexpr int64_t SLACK = 48;  // floats that may be read or written past a row

template <typename F>
inline void over(int64_t n, F f) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) f(i, LANES);
  if (i < n) f(i, int(n - i));
}

template <typename T>
inline vec get(const T* p, int n) { return n == LANES ? load(p) : load(p, n); }
template <typename T>
inline void put(T* p, vec v, int n) { n == LANES ? store(p, v) : store(p, v, n); }

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

}  // namespace

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

namespace {

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

  // Activated rows with their ends repeated; `to` is frame 0 of the first row.
  template <typename T>
  void activate(const T* u, const float* scale, const float* shift, float* to) const {
    for (int64_t c = 0; c < 3 * s.Q; ++c, to += wide()) {
      const T* row = u + c * s.V * s.T;
      over(s.T, [=, this](int64_t i, int n) {
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
        over(s.frames(), [=, this](int64_t i, int) {
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
        over(frames, [&, r](int64_t t, int n) {
          const vec g = load(back + r * own + t);  // zeros past the end
          const float* at = h + branch.low[r] + t * s.stride;
          vec step = every(at + 1, s.stride) - every(at, s.stride);
          if (n < LANES) step = (vec)_mm512_maskz_mov_ps((1u << n) - 1, (__m512)step);
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
      over(frames + margin, [&](int64_t i, int) {
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
      over(frames, [&](int64_t t, int n) { store(out + t, itself(t, n)); });
      store(before + frames, vec{});
      store(after + frames, vec{});
      // Frame t has what t + 1 gives to the one before, and t - 1 to the one after.
      over(frames, [&](int64_t t, int) {
        store(out + t, load(out + t) + load(before + t + 1) + load(after + t - 1));
      });
      out[-1] = before[0], out[frames] = after[frames - 1];
      return;
    }
    float* own = after + frames + SLACK;
    over(frames, [&](int64_t t, int n) { store(own + t, itself(t, n)); });
    store(before + frames, vec{});
    over(frames, [&](int64_t t, int) {
      store_in_turn(out + t * s.stride, load(own + t), load(after + t) + load(before + t + 1));
    });
    out[-1] = before[0];
  }
};

// Mean, 1 / deviation and unbiased variance of the first three quarters.
template <typename T>
void statistics(const Temporal& s, const T* u, double eps, float* stats) {
  const int64_t n = s.V * s.T, channels = 3 * s.Q;
  const double count = double(s.P) * n;
#pragma omp parallel for schedule(static) if (s.work() > PARALLEL_WORK)
  for (int64_t c = 0; c < channels; ++c) {
    auto sums = [&](const T* row, float shift, double& first, double& second) {
      vec a[4] = {}, b[4] = {};
      int64_t i = 0;
      for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (int j = 0; j < 4; ++j) {
          const vec d = load(row + i + j * LANES) - shift;
          a[j] += d, b[j] += d * d;
        }
      over(n - i, [&](int64_t k, int m) {
        vec d = get(row + i + k, m) - shift;
        if (m < LANES) d = (vec)_mm512_maskz_mov_ps((1u << m) - 1, (__m512)d);
        a[0] += d, b[0] += d * d;
      });
      first += sum((a[0] + a[1]) + (a[2] + a[3])), second += sum((b[0] + b[1]) + (b[2] + b[3]));
    };
    double first = 0, second = 0;
    sums(u + c * n, 0, first, second);
    const float shift = float(first / n);  // so that a large mean costs no precision
    first = second = 0;
    for (int64_t p = 0; p < s.P; ++p) sums(u + (p * 4 * s.Q + c) * n, shift, first, second);
    const double excess = first / count, spread = second / count - excess * excess;
    const double variance = spread < 0 ? 0 : spread;
    stats[c] = float(shift + excess);
    stats[channels + c] = float(1 / std::sqrt(variance + eps));
    stats[2 * channels + c] = float(variance * (count / std::max(count - 1, 1.)));
  }
}

struct Affine {
  std::vector<float> scale, shift;

  Affine(const Temporal& s, const float* stats) : scale(3 * s.Q), shift(3 * s.Q) {
    for (int64_t c = 0; c < 3 * s.Q; ++c) {
      scale[c] = stats[3 * s.Q + c] * s.weight[c];
      shift[c] = s.bias[c] - stats[c] * scale[c];
    }
  }
};

template <typename T>
void forward(const Temporal& s, const T* u, const float* stats, T* z) {
  const Branch near(s.Q, s.near_weight, s.near_offset), far(s.Q, s.far_weight, s.far_offset);
  const Affine affine(s, stats);
  const Joint joint(s, near, far);
  const int64_t frames = s.frames(), pitch = frames + SLACK, wide = joint.wide();
#pragma omp parallel for schedule(static) if (s.work() > PARALLEL_WORK)
  for (int64_t i = 0; i < s.P * s.V; ++i) {
    const int64_t p = i / s.V, v = i % s.V;
    const T* in = u + (p * 4 * s.Q * s.V + v) * s.T;
    T* out = z + (p * 4 * s.Q * s.V + v) * frames;
    Scratch scratch;
    float* h = scratch.take(3 * s.Q * wide) - joint.first;
    float* samples = scratch.take(s.Q * ETA * pitch);
    float* result = scratch.take(3 * s.Q * pitch);
    joint.activate(in, affine.scale.data(), affine.shift.data(), h);
    joint.sample(near, h, samples, pitch);
    product(near.forward, samples, pitch, 1, frames, result, pitch);
    joint.sample(far, h + s.Q * wide, samples, pitch);
    product(far.forward, samples, pitch, 1, frames, result + s.Q * pitch, pitch);
    for (int64_t c = 2 * s.Q; c < 3 * s.Q; ++c) {
      const float* row = h + c * wide;
      float* to = result + c * pitch;
      over(frames, [=, &s](int64_t t, int) {
        const float* at = row + t * s.stride;
        store(to + t, most(most(every(at - 1, s.stride), every(at, s.stride)), every(at + 1, s.stride)));
      });
    }
    for (int64_t c = 0; c < 3 * s.Q; ++c)
      over(frames, [=](int64_t t, int n) {
        put(out + c * s.V * frames + t, load(result + c * pitch + t), n);
      });
    for (int64_t c = 3 * s.Q; c < 4 * s.Q; ++c) {
      const T* row = in + c * s.V * s.T;
      T* to = out + c * s.V * frames;
      if (s.stride == 1) std::memcpy(to, row, frames * sizeof(T));
      else for (int64_t t = 0; t < frames; ++t) to[t] = row[t * s.stride];
    }
  }
}

// Of one thread: gradients of weights and offsets, and the norm's two sums. No two threads write to one line of the
// cache.
struct alignas(64) Totals {
  std::vector<float> near, far;    // [16 rows, Q·4 and rest, lane]; then a line that is not used
  std::vector<double> sums;        // 3·Q of the gradient, 3·Q of gradient times distance from the mean; likewise
  double offsets[2][ETA] = {};

  explicit Totals(int64_t q) : sums(6 * q + LANES) {
    near.resize((q + LANES - 1) / LANES * whole(q * ETA) * LANES + LANES);
    far.resize(near.size());
  }
};

// g_W += g_z samples^T.
inline void back_to_weight(int64_t q, int64_t frames, const float* gz, const float* samples, int64_t pitch,
                           float* lanes, float* to) {
  constexpr int N = 16;
  for (int64_t ob = 0; ob < (q + LANES - 1) / LANES; ++ob) {
    const int rows = int(std::min<int64_t>(LANES, q - ob * LANES));
    for (int64_t t = 0; t < frames; t += 4)
      get_rows(gz + ob * LANES * pitch + t, pitch, rows, int(std::min<int64_t>(4, frames - t)), lanes + t * LANES);
    for (int64_t d = 0; d < q * ETA; d += N) {
      float* out = to + (ob * whole(q * ETA) + d) * LANES;
      vec acc[N];
      for (int j = 0; j < N; ++j) acc[j] = load(out + j * LANES);
      const float* right = samples + d * pitch;
      for (int64_t t = 0; t < frames; ++t) {
        const vec left = load(lanes + t * LANES);
        for (int j = 0; j < N; ++j) acc[j] += left * right[j * pitch + t];
      }
      for (int j = 0; j < N; ++j) store(out + j * LANES, acc[j]);
    }
  }
}

template <typename T>
void backward(const Temporal& s, const T* grad, const T* u, const float* stats, bool by_batch, T* grad_u,
              float* grad_weight, float* grad_bias, float* grad_near, float* grad_near_offset,
              float* grad_far, float* grad_far_offset) {
  const Branch near(s.Q, s.near_weight, s.near_offset), far(s.Q, s.far_weight, s.far_offset);
  const Affine affine(s, stats);
  const Joint joint(s, near, far);
  const int64_t frames = s.frames(), pitch = frames + SLACK, wide = joint.wide(), q = s.Q;
  std::vector<Totals> totals(omp_get_max_threads(), Totals(q));
#pragma omp parallel for schedule(static) if (2.5 * s.work() > PARALLEL_WORK)
  for (int64_t i = 0; i < s.P * s.V; ++i) {
    const int64_t p = i / s.V, v = i % s.V;
    const T* in = u + (p * 4 * q * s.V + v) * s.T;
    const T* from = grad + (p * 4 * q * s.V + v) * frames;
    T* to = grad_u + (p * 4 * q * s.V + v) * s.T;
    Totals& own = totals[omp_get_thread_num()];
    Scratch scratch;
    float* h = scratch.take(3 * q * wide) - joint.first;
    float* gh = scratch.take(3 * q * wide) - joint.first;
    float* samples = scratch.take(whole(q * ETA) * pitch);
    float* back = scratch.take(q * ETA * (frames + SLACK + 2 * std::max(near.reach(), far.reach())));
    float* gz = scratch.take(3 * q * pitch);
    float* lanes = scratch.take(std::max((frames + 4) * LANES, 3 * pitch));
    joint.activate(in, affine.scale.data(), affine.shift.data(), h);
    std::fill_n(gh + joint.first, 3 * q * wide, 0.f);
    for (int64_t c = 0; c < 3 * q; ++c)
      over(frames, [=](int64_t t, int n) {
        store(gz + c * pitch + t, get(from + c * s.V * frames + t, n));
      });
    for (int side = 0; side < 2; ++side) {
      const Branch& branch = side ? far : near;
      const float *own_h = h + side * q * wide, *own_gz = gz + side * q * pitch;
      float* own_gh = gh + side * q * wide;
      joint.sample(branch, own_h, samples, pitch);
      back_to_weight(q, frames, own_gz, samples, pitch, lanes, (side ? own.far : own.near).data());
      joint.scatter(branch, own_gz, pitch, back, own_h, own_gh, own.offsets[side]);
    }
    for (int64_t c = 2 * q; c < 3 * q; ++c)
      joint.back_to_largest(h + c * wide, gz + c * pitch, lanes, gh + c * wide);
    for (int64_t c = 0; c < 3 * q; ++c) {
      float* row = gh + c * wide;
      const float* active = h + c * wide;
      for (int64_t t = joint.first; t < 0; ++t) row[0] += row[t];
      for (int64_t t = s.T; t <= joint.last + 1; ++t) row[s.T - 1] += row[t];
      const T* x = in + c * s.V * s.T;
      const float mean = stats[c];
      vec first = {}, second = {};
      over(s.T, [&](int64_t t, int n) {
        vec g = n == LANES ? load(row + t) : load(row + t, n);
        g = load(active + t) > 0 ? g : g * s.slope;
        first += g;
        second += g * (get(x + t, n) - mean);
        put(to + c * s.V * s.T + t, g, n);
      });
      own.sums[c] += sum(first), own.sums[3 * q + c] += sum(second);
    }
    for (int64_t c = 3 * q; c < 4 * q; ++c) {
      T* row = to + c * s.V * s.T;
      const T* g = from + c * s.V * frames;
      if (s.stride == 1) {
        std::memcpy(row, g, frames * sizeof(T));
        continue;
      }
      std::memset(row, 0, s.T * sizeof(T));
      for (int64_t t = 0; t < frames; ++t) row[t * s.stride] = g[t];
    }
  }
  for (size_t k = 1; k < totals.size(); ++k) {
    for (size_t j = 0; j < totals[0].near.size(); ++j)
      totals[0].near[j] += totals[k].near[j], totals[0].far[j] += totals[k].far[j];
    for (size_t j = 0; j < totals[0].sums.size(); ++j) totals[0].sums[j] += totals[k].sums[j];
    for (int j = 0; j < 2 * ETA; ++j) totals[0].offsets[j / ETA][j % ETA] += totals[k].offsets[j / ETA][j % ETA];
  }
  const Totals& all = totals[0];
  for (int64_t o = 0; o < q; ++o)
    for (int64_t d = 0; d < q * ETA; ++d) {
      const int64_t at = (o / LANES * whole(q * ETA) + d) * LANES + o % LANES;
      grad_near[o * q * ETA + d] = all.near[at], grad_far[o * q * ETA + d] = all.far[at];
    }
  for (int r = 0; r < ETA; ++r)
    grad_near_offset[r] = float(all.offsets[0][r]), grad_far_offset[r] = float(all.offsets[1][r]);
  const double count = double(s.P) * s.V * s.T;
  const int64_t n = s.V * s.T;
#pragma omp parallel for schedule(static) if (2.5 * s.work() > PARALLEL_WORK)
  for (int64_t c = 0; c < 3 * q; ++c) {
    const float mean = stats[c], deviation = stats[3 * q + c], scale = deviation * s.weight[c];
    grad_bias[c] = float(all.sums[c]);
    grad_weight[c] = float(all.sums[3 * q + c] * deviation);
    const float constant = by_batch ? float(all.sums[c] / count) : 0;
    const float tilt = by_batch ? float(all.sums[3 * q + c] / count * deviation * deviation) : 0;
    for (int64_t p = 0; p < s.P; ++p) {
      const int64_t at = (p * 4 * q + c) * n;
      over(n, [=](int64_t i, int m) {
        const vec g = get(grad_u + at + i, m) - constant - (get(u + at + i, m) - mean) * tilt;
        put(grad_u + at + i, g * scale, m);
      });
    }
  }
}

}  // namespace
}  // namespace bharnet

#define BHARNET_TEMPORAL(NAME, T)                                                                        \
  extern "C" void temporal_statistics_##NAME(const bharnet::Temporal* s, const T* u, double eps,         \
                                             float* stats) {                                             \
    bharnet::statistics(*s, u, eps, stats);                                                              \
  }                                                                                                      \
  extern "C" void temporal_forward_##NAME(const bharnet::Temporal* s, const T* u, const float* stats,    \
                                          T* z) {                                                        \
    bharnet::forward(*s, u, stats, z);                                                                   \
  }                                                                                                      \
  extern "C" void temporal_backward_##NAME(                                                              \
      const bharnet::Temporal* s, const T* grad, const T* u, const float* stats, int by_batch, T* grad_u, \
      float* grad_weight, float* grad_bias, float* grad_near, float* grad_near_offset, float* grad_far,  \
      float* grad_far_offset) {                                                                          \
    bharnet::backward(*s, grad, u, stats, by_batch != 0, grad_u, grad_weight, grad_bias, grad_near,      \
                      grad_near_offset, grad_far, grad_far_offset);                                      \
  }

BHARNET_TEMPORAL(f32, float)
BHARNET_TEMPORAL(bf16, bharnet::bf16)
