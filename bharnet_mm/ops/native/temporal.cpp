// The temporal branches in training, see temporal.py: batch norm, LeakyReLU, two deformable convolutions, the
// maximum of three frames and a copy, and their gradients.
//
// One joint of one instance at a time, all in the first cache. A deformable convolution interpolates its samples and
// multiplies them by its weight; nothing depends on the size of an offset but how far rows are padded.
#include "temporal.h"

namespace bharnet {
namespace {

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
      each_vector(n - i, [&](int64_t k, int m) {
        vec d = get(row + i + k, m) - shift;
        if (m < LANES) d = first_lanes(d, m);
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
    joint.expect(in + s.T, 4 * s.Q, s.T);
    joint.sample(near, h, samples, pitch);
    product(near.forward, samples, pitch, 1, frames, result, pitch);
    joint.sample(far, h + s.Q * wide, samples, pitch);
    product(far.forward, samples, pitch, 1, frames, result + s.Q * pitch, pitch);
    for (int64_t c = 2 * s.Q; c < 3 * s.Q; ++c) {
      const float* row = h + c * wide;
      float* to = result + c * pitch;
      each_vector(frames, [=, &s](int64_t t, int) {
        const float* at = row + t * s.stride;
        store(to + t, most(most(every(at - 1, s.stride), every(at, s.stride)), every(at + 1, s.stride)));
      });
    }
    for (int64_t c = 0; c < 3 * s.Q; ++c)
      each_vector(frames, [=](int64_t t, int n) {
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
      each_vector(frames, [=](int64_t t, int n) {
        store(gz + c * pitch + t, get(from + c * s.V * frames + t, n));
      });
    joint.expect(in + s.T, 3 * q, s.T);
    joint.expect(from + frames, 4 * q, frames);
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
      each_vector(s.T, [&](int64_t t, int n) {
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
      each_vector(n, [=](int64_t i, int m) {
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
