// A block at inference, see inference_block.py: graph convolution with its shortcut, then, joint by joint, the
// temporal branches, their shortcut and the activations. Float32. What lies between a block's input and
// output stays in cache: an instance's features after the graph convolution, all else of one joint.
#include "product.h"

namespace bharnet {
namespace {

// Calls f(offset, count) for the vectors of a row, the last of which may have fewer lanes.
template <typename F>
inline void over(int64_t n, F f) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) f(i, LANES);
  if (i < n) f(i, int(n - i));
}

inline vec get(const float* p, int n) { return n == LANES ? load(p) : load(p, n); }
inline void put(float* p, vec v, int n) { n == LANES ? store(p, v) : store(p, v, n); }

inline vec most(vec a, vec b) { return (a > b) | (a != a) ? a : b; }

inline vec leaky(vec v, float slope) { return v > 0 ? v : v * slope; }

}  // namespace

// What block.py hands over, in this order. Without `relate` the input is a graph convolution's output.
struct Block {
  Shape s;
  int64_t stride, near_first, far_first;
  float slope;
  // graph convolution: operands, then weight and bias of query and key
  const float *value, *bias, *refine, *adjacency, *relate, *relate_bias;
  // groups of products, or (without a weight) what is added to the input; the second may be missing
  Weight first_shortcut, shortcut;
  Weight hidden, near, far, direct;
  const float *pool_scale, *pool_shift;
};

namespace {

constexpr int64_t SLACK = 32;  // floats that may be read or written past a row

struct Instance {
  const Block& b;
  const Shape& s;
  const float* x;
  float *y, *out;

  int64_t frames_out() const { return (s.T + b.stride - 1) / b.stride; }

  static Weight group(const Weight& w, int64_t g) {
    const int64_t blocks = (w.rows + LANES - 1) / LANES;
    return {w.weight + g * blocks * w.depth * w.taps * LANES, w.bias + g * blocks * LANES, w.rows, w.depth,
            w.taps};
  }

  // The rows of a joint, one behind the other, with a LeakyReLU unless the slope is 1.
  void gather(const float* from, int64_t channels, int64_t v, float* to, int64_t pitch, float slope) const {
    for (int64_t c = 0; c < channels; ++c, to += pitch) {
      const float* row = from + (c * s.V + v) * s.T;
      over(s.T, [=](int64_t i, int n) { store(to + i, leaky(get(row + i, n), slope)); });
    }
  }

  void start(int64_t v) const {  // y = shortcut of x
    const int64_t channels = s.G * s.C, pitch = s.T + SLACK;
    if (b.first_shortcut.weight == nullptr) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t at = (c * s.V + v) * s.T;
        const float *from = x + at, shift = b.first_shortcut.bias[c];
        float* to = y + at;
        over(s.T, [=](int64_t i, int n) { put(to + i, get(from + i, n) + shift, n); });
      }
      return;
    }
    Scratch scratch(8);
    float* rows = scratch.take(channels * pitch);
    gather(x, channels, v, rows, pitch, 1);
    for (int64_t g = 0; g < s.G; ++g)
      product(group(b.first_shortcut, g), rows + g * s.C * pitch, pitch, 1, s.T,
              y + (g * s.O * s.V + v) * s.T, s.V * s.T);
  }

  void graph(const Packed& packed, int64_t g) const {  // y += graph convolution of x
    const int64_t depth = S * s.R;
    const float* own = x + g * s.C * s.V * s.T;
    Scratch scratch(8);
    float* mean = scratch.take(s.C * s.V);
    float* both = scratch.take(2 * depth * s.V);
    for (int64_t i = 0; i < s.C * s.V; ++i) {
      vec total = {};
      int64_t t = 0;
      for (; t + LANES <= s.T; t += LANES) total += load(own + i * s.T + t);
      if (t < s.T) total += load(own + i * s.T + t, int(s.T - t));
      mean[i] = sum(total) / s.T;
    }
    for (int64_t d = 0; d < 2 * depth; ++d) {
      const int64_t row = g * 2 * depth + d;
      std::fill_n(both + d * s.V, s.V, b.relate_bias[row]);
      for (int64_t c = 0; c < s.C; ++c)
        for (int64_t v = 0; v < s.V; ++v)
          both[d * s.V + v] += b.relate[row * s.C + c] * mean[c * s.V + v];
    }
    forward_group(s, packed, g, own, both, both + depth * s.V, b.adjacency, true,
                  y + g * s.O * s.V * s.T);
  }

  void joint(int64_t v) const {  // out = act(branches(act(y)) + shortcut(x))
    const int64_t width = s.G * s.O, quarter = width / 4, channels = s.G * s.C, frames = frames_out(), stride = b.stride;
    const float slope = b.slope;
    const int64_t pitch = s.T + SLACK, out_pitch = frames + SLACK;
    // Of the hidden features the frames first .. last, where ends are repeated.
    const int64_t first = std::min<int64_t>({b.near_first, b.far_first, -1});
    const int64_t last = std::max({s.T, (frames - 1) * b.stride + b.near_first + b.near.taps,
                                   (frames - 1) * b.stride + b.far_first + b.far.taps});
    const int64_t wide = last - first + 1 + SLACK;
    Scratch scratch(8);
    float* rows = scratch.take(std::max(width, channels) * pitch);
    float* hidden = scratch.take(3 * quarter * wide);
    float* result = scratch.take(width * out_pitch);
    float* spare = scratch.take(s.T + SLACK);
    gather(y, width, v, rows, pitch, slope);
    product(b.hidden, rows, pitch, 1, s.T, hidden - first, wide);
    for (int64_t c = 0; c < 3 * quarter; ++c) {
      float* row = hidden + c * wide - first;
      over(s.T, [=](int64_t i, int) { store(row + i, leaky(load(row + i), slope)); });
      for (int64_t t = first; t < 0; ++t) row[t] = row[0];
      for (int64_t t = s.T; t <= last; ++t) row[t] = row[s.T - 1];
    }
    product(b.near, hidden + b.near_first - first, wide, b.stride, frames, result, out_pitch);
    product(b.far, hidden + quarter * wide + b.far_first - first, wide, b.stride, frames,
            result + quarter * out_pitch, out_pitch);
    for (int64_t c = 0; c < quarter; ++c) {
      const float *row = hidden + (2 * quarter + c) * wide - first;
      const float scale = b.pool_scale[c], shift = b.pool_shift[c];
      float *to = result + (2 * quarter + c) * out_pitch, *dense = stride == 1 ? to : spare;
      over(s.T, [=](int64_t i, int) {
        const vec largest = most(most(load(row + i - 1), load(row + i)), load(row + i + 1));
        store(dense + i, largest * scale + shift);
      });
      if (stride > 1)
        for (int64_t t = 0; t < frames; ++t) to[t] = dense[t * stride];
    }
    product(b.direct, rows, pitch, b.stride, frames, result + 3 * quarter * out_pitch, out_pitch);
    if (b.shortcut.weight != nullptr) {
      gather(x, channels, v, rows, pitch, 1);
      for (int64_t g = 0; g < s.G; ++g)
        product(group(b.shortcut, g), rows + g * s.C * pitch, pitch, b.stride, frames,
                result + g * s.O * out_pitch, out_pitch, true);
    }
    const bool same = b.relate != nullptr && b.shortcut.weight == nullptr;
    for (int64_t c = 0; c < width; ++c) {
      const int64_t at = (c * s.V + v) * frames;
      const float *from = result + c * out_pitch, *more = x + at;
      float* to = out + at;
      over(frames, [=](int64_t i, int n) {
        const vec value = load(from + i);
        put(to + i, leaky(same ? value + get(more + i, n) : value, slope), n);
      });
    }
  }
};

}  // namespace
}  // namespace bharnet

// x (P, C, V, T) -> out (P, O, V, ceil(T / stride)).
extern "C" void folded_block_forward_f32(const bharnet::Block* block, const float* x, float* out) {
  using namespace bharnet;
  const Shape& s = block->s;
  const bool whole = block->relate != nullptr;
  const Packed packed = whole ? Packed(s, block->value, block->bias, block->refine, false) : Packed();
  const int64_t in = s.G * s.C * s.V * s.T, between = s.G * s.O * s.V * s.T;
  const int64_t after = s.G * s.O * s.V * ((s.T + block->stride - 1) / block->stride);
  const double width = s.G * s.O;
  const bool many = s.work() + s.P * s.V * s.T * width * 1.5 * width > PARALLEL_WORK;
  // Few instances: threads share the work on each, by joints and groups.
  const bool share = s.P < omp_get_max_threads();
#pragma omp parallel for schedule(static) if (many && !share)
  for (int64_t p = 0; p < s.P; ++p) {
    Scratch scratch(12);
    float* y = whole ? scratch.take(between) : const_cast<float*>(x + p * in);
    const Instance one{*block, s, x + p * in, y, out + p * after};
#pragma omp parallel if (many && share)
    {
      if (whole) {
#pragma omp for schedule(static)
        for (int64_t v = 0; v < s.V; ++v) one.start(v);
#pragma omp for schedule(static)
        for (int64_t g = 0; g < s.G; ++g) one.graph(packed, g);
      }
#pragma omp for schedule(static)
      for (int64_t v = 0; v < s.V; ++v) one.joint(v);
    }
  }
}
