// The refined graph convolution y = (W rel)^T (U x + b) and its gradient, see refined_graph.py.
//
// One instance and group at a time, 16 output channels side by side in the lanes of a vector, so that
// every product is a sum of products lane by lane or with one broadcast number, whatever the numbers of
// joints and frames are. Frames come in blocks of four. Topology and projected values of 16 channels
// stay in the second cache; they never reach memory.
#include "refined_graph.h"

namespace bharnet {
namespace {

// g_val = top g, for a block of frames.
template <int N>
inline void back_to_values(const Shape& s, const float* top, const float* g, int64_t k, float* gval) {
  vec acc[N][4] = {};
  s.each_receivers([&](int64_t u, auto count) {
    constexpr int NU = decltype(count)::value;
    const float* a = top + (u * s.senders() + k * NU) * LANES;
    for (int i = 0; i < NU; ++i) {
      vec b[4];
      for (int j = 0; j < 4; ++j) b[j] = held(g + ((u + i) * 4 + j) * LANES);
      for (int m = 0; m < N; ++m) {
        const vec left = held(a + (m * NU + i) * LANES);
        for (int j = 0; j < 4; ++j) acc[m][j] += left * b[j];
      }
    }
  });
  for (int m = 0; m < N; ++m)
    for (int j = 0; j < 4; ++j) store(gval + ((k + m) * 4 + j) * LANES, acc[m][j]);
}

// g_top += val g^T of N senders, for some blocks of frames. The senders' values stay in the first cache.
template <int N>
inline void back_to_topology(const Shape& s, const float* val, const float* g, int64_t k, int64_t blocks,
                             float* gtop) {
  s.each_receivers([&](int64_t u, auto count) {
    constexpr int NU = decltype(count)::value;
    float* out = gtop + (u * s.senders() + k * NU) * LANES;
    vec acc[N][NU];
    for (int m = 0; m < N; ++m)
      for (int i = 0; i < NU; ++i) acc[m][i] = load(out + (m * NU + i) * LANES);
    for (int64_t tb = 0; tb < blocks; ++tb) {
      const float* a = val + (tb * s.senders() + k) * 4 * LANES;
      const float* b = g + (tb * s.V + u) * 4 * LANES;
      for (int j = 0; j < 4; ++j) {
        vec left[N];
        for (int m = 0; m < N; ++m) left[m] = held(a + (4 * m + j) * LANES);
        for (int i = 0; i < NU; ++i) {
          const vec right = held(b + (i * 4 + j) * LANES);
          for (int m = 0; m < N; ++m) acc[m][i] += left[m] * right;
        }
      }
    }
    for (int m = 0; m < N; ++m)
      for (int i = 0; i < NU; ++i) store(out + (m * NU + i) * LANES, acc[m][i]);
  });
}

// g_U += g_val x^T for N channels in.
template <int N>
inline void back_to_weight(const Shape& s, const float* gval, const float* xp, int64_t c,
                           int64_t blocks, float* gu) {
  vec acc[S][N];
  for (int q = 0; q < S; ++q)
    for (int i = 0; i < N; ++i) acc[q][i] = load(gu + (q * s.C + c + i) * LANES);
  for (int64_t tb = 0; tb < blocks; ++tb)
    for (int64_t v = 0; v < s.V; ++v) {
      const float* right = xp + ((tb * s.V + v) * s.C + c) * 4;
      const float* left = gval + (tb * s.senders() + v) * 4 * LANES;
      for (int j = 0; j < 4; ++j) {
        vec a[S];
        for (int q = 0; q < S; ++q) a[q] = held(left + (q * s.V * 4 + j) * LANES);
        for (int i = 0; i < N; ++i)
          for (int q = 0; q < S; ++q) acc[q][i] += a[q] * right[i * 4 + j];
      }
    }
  for (int q = 0; q < S; ++q)
    for (int i = 0; i < N; ++i) store(gu + (q * s.C + c + i) * LANES, acc[q][i]);
}

// g_x += U^T g_val for N joints and four frames; channels in are the lanes.
template <int N>
inline void back_to_features(const Shape& s, const float* ut, const float* gval, int64_t v, int rows,
                             float* gx) {
  gx += v * 4 * LANES;
  vec acc[N][4];
  for (int i = 0; i < N; ++i)
    for (int j = 0; j < 4; ++j) acc[i][j] = load(gx + (i * 4 + j) * LANES);
  for (int o = 0; o < rows; ++o)
    for (int q = 0; q < S; ++q) {
      const vec u = held(ut + (o * S + q) * LANES);
      const float* row = gval + (q * s.V + v) * 4 * LANES + o;
      for (int i = 0; i < N; ++i)
        for (int j = 0; j < 4; ++j) acc[i][j] += u * row[(i * 4 + j) * LANES];
    }
  for (int i = 0; i < N; ++i)
    for (int j = 0; j < 4; ++j) store(gx + (i * 4 + j) * LANES, acc[i][j]);
}

// g_W += g_top rel^T, and g_rel += W^T g_top with the relation's channels and A as lanes.
void back_to_relation(const Shape& s, const Packed& w, int64_t g, int64_t ob, const float* rel, const float* ones,
                      const float* gtop, float* gw, float* grel) {
  const int rows = s.lanes(ob);
  const float* wt = w.transposed_refine(s, g, ob);
  s.each_receivers([&](int64_t u, auto count) {
    constexpr int NU = decltype(count)::value;
    for (int q = 0; q < S; ++q) {
      const float* own = gtop + (u * s.senders() + q * s.V * NU) * LANES;
      for (int64_t r = 0; r <= s.R; r += 3) {
        const float* planes[3];  // the last row of a product is constant, and some of these are not used
        for (int m = 0; m < 3; ++m)
          planes[m] = (r + m < s.R ? rel + (q * s.R + r + m) * s.V * s.V : ones) + u;
        vec acc[3][NU] = {};
        for (int64_t v = 0; v < s.V; ++v)
          for (int i = 0; i < NU; ++i) {
            const vec left = held(own + (v * NU + i) * LANES);
            for (int m = 0; m < 3; ++m) acc[m][i] += left * planes[m][v * s.V + i];
          }
        for (int m = 0; m < 3 && r + m <= s.R; ++m) {
          float* out = gw + (q * (s.R + 1) + r + m) * LANES;
          vec total = load(out);
          for (int i = 0; i < NU; ++i) total += acc[m][i];
          store(out, total);
        }
      }
      for (int64_t v = 0; v < s.V; ++v) {
        float* out = grel + ((q * s.V + v) * s.V + u) * LANES;
        vec acc[NU];
        for (int i = 0; i < NU; ++i) acc[i] = load(out + i * LANES);
        for (int o = 0; o < rows; ++o) {
          const vec weight = held(wt + (o * S + q) * LANES);
          for (int i = 0; i < NU; ++i) acc[i] += weight * own[(v * NU + i) * LANES + o];
        }
        for (int i = 0; i < NU; ++i) store(out + i * LANES, acc[i]);
      }
    }
  });
}

template <typename T>
void backward_group(const Shape& s, const Packed& w, int64_t g, const T* grad, const T* x,
                    const float* query, const float* key, const float* adjacency, T* grad_x,
                    float* grad_query, float* grad_key, const Sums& sums) {
  const int64_t senders = s.senders(), channels16 = (s.C + LANES - 1) / LANES;
  const int64_t tiles = (s.frames4() + TILE - 1) / TILE;
  Scratch scratch;
  float* rel = scratch.take(s.relations() + s.V * s.V + LANES);
  float* ones = rel + s.relations();
  float* xp = scratch.take(s.padded() * s.C);
  float* top = scratch.take(senders * s.V * LANES);
  float* gtop = scratch.take(senders * s.V * LANES);
  float* val = scratch.take(TILE * senders * 4 * LANES);
  float* gval = scratch.take(TILE * senders * 4 * LANES);
  float* gy = scratch.take(s.V * 4 * TILE * LANES);
  float* grel = scratch.take(senders * s.V * LANES + LANES * LANES);
  float* gx = scratch.take(channels16 * tiles * s.V * 4 * TILE * LANES);
  relation(s, query, key, rel);
  std::fill_n(ones, s.V * s.V, 1.f);  // after the relation, which writes past its end
  pack_features(s, x, xp);
  std::fill_n(grel, senders * s.V * LANES, 0.f);
  std::fill_n(gx, channels16 * tiles * s.V * 4 * TILE * LANES, 0.f);
  for (int64_t ob = 0; ob < s.blocks(); ++ob) {
    const int rows = s.lanes(ob);
    topology(s, w, g, ob, rel, adjacency, top);
    std::fill_n(gtop, senders * s.V * LANES, 0.f);
    float *gu = sums.value(s, g, ob), *gb = sums.bias(s, g, ob), *gw = sums.refine(s, g, ob);
    for (int64_t start = 0; start < s.frames4(); start += TILE) {
      const int64_t blocks = std::min(TILE, s.frames4() - start);
      const float* xt = xp + start * s.V * s.C * 4;
      const int n = int(std::min<int64_t>(LANES, s.T - 4 * start));
      for (int64_t u = 0; u < s.V; ++u)
        get_tile(grad + (ob * LANES * s.V + u) * s.T + 4 * start, s.V * s.T, rows, n,
                 gy + u * 4 * LANES, s.V * 4 * LANES);
      int64_t k = 0;  // of some senders, whose topology stays in the first cache
      for (; k + 6 <= senders; k += 6)
        for (int64_t tb = 0; tb < blocks; ++tb)
          back_to_values<6>(s, top, gy + tb * s.V * 4 * LANES, k, gval + tb * senders * 4 * LANES);
      if (k < senders)
        for (int64_t tb = 0; tb < blocks; ++tb)
          back_to_values<3>(s, top, gy + tb * s.V * 4 * LANES, k, gval + tb * senders * 4 * LANES);
      for (int64_t tb = 0; tb < blocks; ++tb) {
        float* gv = gval + tb * senders * 4 * LANES;
        values(s, w, g, ob, xt + tb * s.V * s.C * 4, val + tb * senders * 4 * LANES);
        for (int q = 0; q < S; ++q) {
          vec total[4] = {};
          for (int64_t i = 0; i < s.V * 4; ++i) total[i % 4] += load(gv + (q * s.V * 4 + i) * LANES);
          store(gb + q * LANES, load(gb + q * LANES) + (total[0] + total[1]) + (total[2] + total[3]));
        }
        for (int64_t cb = 0; cb < channels16; ++cb) {
          const float* ut = w.transposed_value(s, g, cb, ob);
          float* out = gx + ((cb * tiles * TILE + start + tb) * s.V) * 4 * LANES;
          int64_t v = 0;
          for (; v + 5 <= s.V; v += 5) back_to_features<5>(s, ut, gv, v, rows, out);
          for (; v + 2 <= s.V; v += 2) back_to_features<2>(s, ut, gv, v, rows, out);
          if (v < s.V) back_to_features<1>(s, ut, gv, v, rows, out);
        }
      }
      k = 0;
      for (; k + 4 <= senders; k += 4) back_to_topology<4>(s, val, gy, k, blocks, gtop);
      if (senders - k == 3) back_to_topology<3>(s, val, gy, k, blocks, gtop);
      if (senders - k == 2) back_to_topology<2>(s, val, gy, k, blocks, gtop);
      if (senders - k == 1) back_to_topology<1>(s, val, gy, k, blocks, gtop);
      int64_t c = 0;
      for (; c + 8 <= s.C; c += 8) back_to_weight<8>(s, gval, xt, c, blocks, gu);
      for (; c + 4 <= s.C; c += 4) back_to_weight<4>(s, gval, xt, c, blocks, gu);
      for (; c < s.C; ++c) back_to_weight<1>(s, gval, xt, c, blocks, gu);
    }
    back_to_relation(s, w, g, ob, rel, ones, gtop, gw, grel);
  }
  for (int64_t cb = 0; cb < channels16; ++cb)
    for (int64_t v = 0; v < s.V; ++v)
      for (int64_t tile = 0; tile < tiles; ++tile)
        put_tile(gx + ((cb * tiles + tile) * TILE * s.V + v) * 4 * LANES, s.V * 4 * LANES,
                 grad_x + (cb * LANES * s.V + v) * s.T + tile * LANES, s.V * s.T,
                 int(std::min<int64_t>(LANES, s.C - cb * LANES)),
                 int(std::min<int64_t>(LANES, s.T - tile * LANES)), false);
  std::fill_n(grad_query, S * s.R * s.V, 0.f);
  std::fill_n(grad_key, S * s.R * s.V, 0.f);
  for (int q = 0; q < S; ++q)
    for (int64_t v = 0; v < s.V; ++v)
      for (int64_t u = 0; u < s.V; u += LANES) {
        const int n = int(std::min<int64_t>(LANES, s.V - u));
        vec own[LANES];  // after it a row a channel, with receivers as lanes
        for (int i = 0; i < LANES; ++i) own[i] = load(grel + ((q * s.V + v) * s.V + u + i) * LANES);
        transpose(own);
        for (int64_t r = 0; r < s.R; ++r) {
          const int64_t d = q * s.R + r;
          const vec tanh = load(rel + (d * s.V + v) * s.V + u, n), slope = own[r] * (1 - tanh * tanh);
          float* to = grad_query + d * s.V + u;
          store(to, load(to, n) + slope, n);
          grad_key[d * s.V + v] -= sum(first_lanes(slope, n));
        }
        for (int i = 0; i < n; ++i) sums.adjacency(s)[(q * s.V + u + i) * s.V + v] += own[s.R][i];
      }
}

template <typename T>
void forward(const Shape& s, const T* x, const float* value, const float* bias, const float* refine,
             const float* query, const float* key, const float* adjacency, bool add, T* y) {
  const Packed w(s, value, bias, refine, false);
  const int64_t depth = S * s.R * s.V;
#pragma omp parallel for schedule(static) if (s.work() > PARALLEL_WORK)
  for (int64_t i = 0; i < s.P * s.G; ++i)
    forward_group(s, w, i % s.G, x + i * s.C * s.V * s.T, query + i * depth, key + i * depth,
                  adjacency, add, y + i * s.O * s.V * s.T);
}

template <typename T>
void backward(const Shape& s, const T* grad, const T* x, const float* value, const float* bias,
              const float* refine, const float* query, const float* key, const float* adjacency,
              T* grad_x, float* grad_value, float* grad_bias, float* grad_refine, float* grad_query,
              float* grad_key, float* grad_adjacency) {
  const Packed w(s, value, bias, refine, true);
  const int64_t depth = S * s.R * s.V, size = Sums::size(s), threads = omp_get_max_threads();
  std::vector<float> sums(threads * size);
#pragma omp parallel for schedule(static) if (s.work() > PARALLEL_WORK)
  for (int64_t i = 0; i < s.P * s.G; ++i)
    backward_group(s, w, i % s.G, grad + i * s.O * s.V * s.T, x + i * s.C * s.V * s.T,
                   query + i * depth, key + i * depth, adjacency, grad_x + i * s.C * s.V * s.T,
                   grad_query + i * depth, grad_key + i * depth,
                   Sums{sums.data() + omp_get_thread_num() * size});
  for (int64_t i = 1; i < threads; ++i)
    for (int64_t j = 0; j < size; ++j) sums[j] += sums[i * size + j];
  Sums{sums.data()}.unpack(s, grad_value, grad_bias, grad_refine, grad_adjacency);
}

}  // namespace
}  // namespace bharnet

#define BHARNET_GRAPH(NAME, T)                                                                     \
  extern "C" void refined_graph_forward_##NAME(                                                    \
      const bharnet::Shape* s, const T* x, const float* value, const float* bias,                  \
      const float* refine, const float* query, const float* key, const float* adjacency, int add,  \
      T* y) {                                                                                      \
    bharnet::forward(*s, x, value, bias, refine, query, key, adjacency, add != 0, y);              \
  }                                                                                                \
  extern "C" void refined_graph_backward_##NAME(                                                   \
      const bharnet::Shape* s, const T* grad, const T* x, const float* value, const float* bias,   \
      const float* refine, const float* query, const float* key, const float* adjacency,           \
      T* grad_x, float* grad_value, float* grad_bias, float* grad_refine, float* grad_query,       \
      float* grad_key, float* grad_adjacency) {                                                    \
    bharnet::backward(*s, grad, x, value, bias, refine, query, key, adjacency, grad_x,             \
                      grad_value, grad_bias, grad_refine, grad_query, grad_key, grad_adjacency);   \
  }

BHARNET_GRAPH(f32, float)
BHARNET_GRAPH(bf16, bharnet::bf16)
