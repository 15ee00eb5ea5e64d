// Rotary embedding (Su et al., "RoFormer", 2021): pair i of a row at position p turns by
// p * frequencies[i]. Angles, sines and cosines are computed in double, and once for a block of
// positions, which then goes over the rows of many heads.
//
// Workspace a thread, in elements: kBlock * 2 (pairs, rounded up to a vector).
#include "kernels/gemm/engine.h"
#include "kernels/storage.h"
#include "ops/attention.h"
#include "runtime/workspace.h"
#include "simd/math.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kBlock = 32;  // positions whose sines a part keeps
constexpr int64_t kHeads = 64;  // matrices that a part takes them over

constexpr double kFarthest = 0x1p20;  // sine_and_cosine is accurate up to here

template <class V>
struct SineCosine {
  V sine, cosine;
};

// After Cody and Waite; polynomials and parts of pi / 2 from FreeBSD's k_sin.c, k_cos.c and
// e_rem_pio2.c. |x| <= kFarthest.
SineCosine<Vec<double>> sine_and_cosine(Vec<double> x) {
  using V = Vec<double>;
  using I = IntVec<double>;
  const I quadrant = round_to_int(x * V(0x1.45f306dc9c883p-1));
  const V n = to_float(quadrant);
  const V r = fnma(n, V(0x1.3198a2e037073p-69),
                   fnma(n, V(0x1.0b4611a6p-34), fnma(n, V(0x1.921fb544p+0), x)));
  const V z = r * r;
  const V s = math::polynomial(z, -1.66666666666666324348e-01, 8.33333333332248946124e-03,
                               -1.98412698298579493134e-04, 2.75573137070700676789e-06,
                               -2.50507602534068634195e-08, 1.58969099521155010221e-10);
  const V c = math::polynomial(z, 4.16666666666666019037e-02, -1.38888888888741095749e-03,
                               2.48015872894767294178e-05, -2.75573143513906633035e-07,
                               2.08757232129817482790e-09, -1.13596475577881948265e-11);
  const V sine = fma(r * z, s, r), cosine = fma(z * z, c, fnma(z, V(0.5), V(1.0)));
  const auto odd = (quadrant & I(1)) == I(1);
  const auto negative_sine = (quadrant & I(2)) == I(2);
  const auto negative_cosine = ((quadrant + I(1)) & I(2)) == I(2);
  const V swapped_sine = select(odd, cosine, sine), swapped_cosine = select(odd, sine, cosine);
  return {select(negative_sine, -swapped_sine, swapped_sine),
          select(negative_cosine, -swapped_cosine, swapped_cosine)};
}

// One row of the table: cosines and sines of position * frequencies.
template <class T>
void fill_row(T* cosines, T* sines, double position, const RotaryEmbeddingArgs<T>& args) {
  constexpr int64_t kSize = Vec<double>::kSize;
  const double direction = args.inverse ? -1.0 : 1.0;
  double sine[kSize], cosine[kSize];
  for (int64_t i = 0; i < args.pairs; i += kSize) {
    const int64_t n = min_of(kSize, args.pairs - i);
    const Vec<double> angle = Vec<double>::load(args.frequencies + i, n) * Vec<double>(position);
    if (all(abs(angle) <= Vec<double>(kFarthest))) {
      const auto both = sine_and_cosine(angle);
      both.sine.store(sine);
      both.cosine.store(cosine);
    } else {
      for (int64_t j = 0; j < n; ++j) {
        sine[j] = __builtin_sin(args.frequencies[i + j] * position);
        cosine[j] = __builtin_cos(args.frequencies[i + j] * position);
      }
    }
    for (int64_t j = 0; j < n; ++j) {
      sines[i + j] = static_cast<T>(direction * sine[j]);
      cosines[i + j] = static_cast<T>(cosine[j]);
    }
  }
}

// A vector of pairs, turned.
template <class T>
FASTNN_INLINE void turn(Vec<T>& first, Vec<T>& second, Vec<T> cosine, Vec<T> sine) {
  const Vec<T> old = first;
  first = fnma(second, sine, first * cosine);
  second = fma(old, sine, second * cosine);
}

template <class T, class S>
void turn_row(const S* x, S* y, const T* cosines, const T* sines,
              const RotaryEmbeddingArgs<T>& args) {
  constexpr int64_t kSize = Vec<T>::kSize;
  const int64_t pairs = args.pairs;
  if (args.interleaved) {
    for (int64_t i = 0; i < pairs; i += kSize) {
      const int64_t n = 2 * (pairs - i);
      Vec<T> first = load_stored(FirstLanes<T>{n}, x + 2 * i),
             second = load_stored(FirstLanes<T>{n - kSize}, x + 2 * i + kSize);
      deinterleave(first, second);
      turn(first, second, Vec<T>::load(cosines + i), Vec<T>::load(sines + i));
      interleave(first, second);
      store_stored(y + 2 * i, n, first);
      store_stored(y + 2 * i + kSize, n - kSize, second);
    }
  } else {
    for_vectors<T>(pairs, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
      Vec<T> first = load_stored(lanes, x + i), second = load_stored(lanes, x + pairs + i);
      turn(first, second, Vec<T>::load(cosines + i), Vec<T>::load(sines + i));
      store_stored(lanes, first, y + i);
      store_stored(lanes, second, y + pairs + i);
    });
  }
  for_vectors<T>(args.width - 2 * pairs, [&](int64_t i, auto lanes) FASTNN_INLINE_LAMBDA {
    store_stored(lanes, load_stored(lanes, x + 2 * pairs + i), y + 2 * pairs + i);
  });
}

// Elements are stored as S.
template <class T, class S>
void turn_stored(const RotaryEmbeddingArgs<T>& args) {
  const int64_t stride = round_up(args.pairs, Vec<T>::kSize), table = 2 * kBlock * stride;
  const int64_t blocks = ceil_div(args.rows, kBlock), chunks = ceil_div(args.heads, kHeads);
  const int64_t work = min_of(args.rows, kBlock) * min_of(args.heads, kHeads) * (args.width + 8);
  const int64_t grain = max_of(1, kPartElements / max_of(1, work));
  const int workers = plan_workers(ceil_div(blocks * chunks, grain));
  Workspace workspace(workers * table * static_cast<int64_t>(sizeof(T)) + Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * table);
  parallel_for(blocks * chunks, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const cosines = memory + worker * table;
    T* const sines = cosines + kBlock * stride;
    for (int64_t part = begin; part < end; ++part) {
      const int64_t row = part / chunks * kBlock, rows = min_of(kBlock, args.rows - row);
      const int64_t first = part % chunks * kHeads, last = min_of(first + kHeads, args.heads);
      for (int64_t head = first; head < last; ++head) {
        if (head == first || args.position_offsets[head] != args.position_offsets[head - 1]) {
          const int64_t* const positions =
              args.positions + args.position_offsets[head] + row * args.position_stride;
          for (int64_t r = 0; r < rows; ++r) {
            fill_row(cosines + r * stride, sines + r * stride,
                     static_cast<double>(positions[r * args.position_stride]), args);
          }
        }
        const S* const x = static_cast<const S*>(args.input) + args.input_offsets[head] +
                           row * args.input_row_stride;
        S* const y =
            static_cast<S*>(args.output) + args.output_offsets[head] + row * args.output_row_stride;
        for (int64_t r = 0; r < rows; ++r) {
          turn_row(x + r * args.input_row_stride, y + r * args.output_row_stride,
                   cosines + r * stride, sines + r * stride, args);
        }
      }
    }
  });
}

}  // namespace

template <class T>
void rotary_embedding_forward(const RotaryEmbeddingArgs<T>& args) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (args.is_bfloat16) return turn_stored<T, uint16_t>(args);
  }
  turn_stored<T, T>(args);
}

template void rotary_embedding_forward(const RotaryEmbeddingArgs<float>&);
template void rotary_embedding_forward(const RotaryEmbeddingArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
