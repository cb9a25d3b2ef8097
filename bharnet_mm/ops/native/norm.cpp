// Batch norm by the statistics of the batch, with the sum and the LeakyReLU that follow it.
//
// Channel by channel: what the second pass reads again, the first has left in cache, so that every
// array crosses the memory bus once. Layout (P, C, N).
#include "vec.h"

#include <cmath>
#include <type_traits>

namespace bharnet {
namespace {

// Writes past the caches: what does not fit into them need not be read before it is written.
template <bool PAST, typename T>
inline void put_last(T* p, vec v, int n) {
  if constexpr (PAST && sizeof(T) == sizeof(float))
    if (n == LANES && reinterpret_cast<uintptr_t>(p) % sizeof v == 0) return _mm512_stream_ps(p, (__m512)v);
  put(p, v, n);
}

// Two sums over a row: lanes in float32 for one row only, the rows in float64.
struct Sums {
  double first = 0, second = 0;

  template <typename F>
  inline void row(int64_t n, F f) {
    vec a[4] = {}, b[4] = {};
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
      for (int j = 0; j < 4; ++j) f(i + j * LANES, LANES, a[j], b[j]);
    for (; i + LANES <= n; i += LANES) f(i, LANES, a[0], b[0]);
    if (i < n) f(i, int(n - i), a[1], b[1]);
    first += sum((a[0] + a[1]) + (a[2] + a[3]));
    second += sum((b[0] + b[1]) + (b[2] + b[3]));
  }
};

struct Shape {
  int64_t size, channels, n;

  // In multiply-adds that take as long: two passes over memory.
  double work() const { return 300. * size * channels * n; }
  bool large() const { return size * channels * n > 1 << 20; }  // 4 MB of float32
};

template <bool ADDS, bool PAST, typename T>
void forward(Shape s, const T* x, const T* residual, const float* weight, const float* bias,
             double eps, float slope, T* y, float* mean, float* deviation, float* variance) {
  const double count = double(s.size) * s.n;
#pragma omp parallel for schedule(static) if (s.work() > PARALLEL_WORK)
  for (int64_t c = 0; c < s.channels; ++c) {
    // Sums of what exceeds the first instance's mean, so that a large mean costs no precision.
    Sums start, sums;
    start.row(s.n, [&](int64_t i, int n, vec& a, vec&) { a += get(x + c * s.n + i, n); });
    const float shift = float(start.first / s.n);
    for (int64_t p = 0; p < s.size; ++p) {
      const T* row = x + (p * s.channels + c) * s.n;
      sums.row(s.n, [&](int64_t i, int n, vec& a, vec& b) {
        vec d = get(row + i, n) - shift;
        if (n < LANES) d = first_lanes(d, n);
        a += d;
        b += d * d;
      });
    }
    const double excess = sums.first / count;
    const double spread = sums.second / count - excess * excess;
    variance[c] = float(spread < 0 ? 0 : spread);  // a NaN stays one
    mean[c] = float(shift + excess);
    deviation[c] = float(1 / std::sqrt(variance[c] + eps));
    const vec m = splat(mean[c]), b = splat(bias[c]), scale = splat(weight[c] * deviation[c]);
    for (int64_t p = 0; p < s.size; ++p) {
      const int64_t at = (p * s.channels + c) * s.n;
      each_vector(s.n, [&](int64_t i, int n) {
        vec v = (get(x + at + i, n) - m) * scale + b;
        if (ADDS) v += get(residual + at + i, n);
        put_last<PAST>(y + at + i, v > 0 ? v : v * slope, n);
      });
    }
  }
}

template <bool ACT, bool ADDS, bool PAST, typename T>
void backward(Shape s, const T* grad, const T* x, const T* y, const float* weight,
              const float* mean, const float* deviation, float slope, T* grad_x, T* grad_residual,
              float* grad_weight, float* grad_bias) {
  const double count = double(s.size) * s.n;
#pragma omp parallel for schedule(static) if (s.work() > PARALLEL_WORK)
  for (int64_t c = 0; c < s.channels; ++c) {
    const vec m = splat(mean[c]);
    auto inner = [&](int64_t i, int n) {  // gradient before the LeakyReLU
      vec g = get(grad + i, n);
      return ACT ? (get(y + i, n) > 0 ? g : g * slope) : g;
    };
    Sums sums;
    for (int64_t p = 0; p < s.size; ++p) {
      const int64_t at = (p * s.channels + c) * s.n;
      sums.row(s.n, [&](int64_t i, int n, vec& a, vec& b) {
        vec g = inner(at + i, n);  // zeros past the end, and so no share of x there
        a += g;
        b += g * (get(x + at + i, n) - m);
      });
    }
    grad_bias[c] = float(sums.first);
    grad_weight[c] = float(sums.second * deviation[c]);
    const vec scale = splat(weight[c] * deviation[c]), constant = splat(float(sums.first / count));
    const vec tilt = splat(float(sums.second / count * deviation[c] * deviation[c]));
    for (int64_t p = 0; p < s.size; ++p) {
      const int64_t at = (p * s.channels + c) * s.n;
      each_vector(s.n, [&](int64_t i, int n) {
        vec g = inner(at + i, n);
        if (ADDS) put_last<PAST>(grad_residual + at + i, g, n);
        put_last<PAST>(grad_x + at + i, (g - constant - (get(x + at + i, n) - m) * tilt) * scale, n);
      });
    }
  }
}

// Calls f with a truth as a constant.
template <typename F>
void as_constant(bool value, F f) {
  value ? f(std::true_type()) : f(std::false_type());
}

}  // namespace
}  // namespace bharnet

#define BHARNET_NORM(NAME, T)                                                                     \
  extern "C" void norm_forward_##NAME(                                                            \
      int64_t size, int64_t channels, int64_t n, const T* x, const T* residual,                   \
      const float* weight, const float* bias, double eps, float slope, T* y, float* mean,         \
      float* deviation, float* variance) {                                                        \
    const bharnet::Shape s{size, channels, n};                                                    \
    bharnet::as_constant(residual, [&](auto adds) {                                               \
      bharnet::as_constant(s.large(), [&](auto past) {                                            \
        bharnet::forward<adds.value, past.value>(s, x, residual, weight, bias, eps, slope, y,     \
                                                 mean, deviation, variance);                      \
      });                                                                                         \
    });                                                                                           \
  }                                                                                               \
  extern "C" void norm_backward_##NAME(                                                           \
      int64_t size, int64_t channels, int64_t n, const T* grad, const T* x, const T* y,           \
      const float* weight, const float* mean, const float* deviation, float slope, T* grad_x,     \
      T* grad_residual, float* grad_weight, float* grad_bias) {                                   \
    const bharnet::Shape s{size, channels, n};                                                    \
    bharnet::as_constant(y, [&](auto act) {                                                       \
      bharnet::as_constant(grad_residual, [&](auto adds) {                                        \
        bharnet::as_constant(s.large(), [&](auto past) {                                          \
          bharnet::backward<act.value, adds.value, past.value>(                                   \
              s, grad, x, y, weight, mean, deviation, slope, grad_x, grad_residual, grad_weight,  \
              grad_bias);                                                                         \
        });                                                                                       \
      });                                                                                         \
    });                                                                                           \
  }

BHARNET_NORM(f32, float)
BHARNET_NORM(bf16, bharnet::bf16)
