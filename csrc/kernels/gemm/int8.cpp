// Linear layers with int8 weights: y = x W^T + bias, where W[j, k] = weight_scale[j] * w[j, k].
//
// A row of x is quantised as it is packed, to q = round(x / scale) + zero in 0 .. 255, where the
// range from its least to its greatest value, both bounded by zero, is 255 scales: zero stays zero,
// and a row of one sign, as after ReLU, uses all levels. Then
//   y[i, j] = (sum_k q[i, k] w[j, k] - zero[i] sum_k w[j, k]) scale[i] weight_scale[j] + bias[j].
// The sums are exact and what follows rounds each product and sum by itself, so that the bytes are
// the same on every instruction set. A row with NaN or infinity gives a row of NaN; in rows within
// 255 of the least normal numbers the scale stays there.
//
// Packed weights: for every block of kWordDepth words its groups of columns, [depth][kWordGroup]
// each; then for every block the sums of its columns.
// Workspace: that of words.h, and a panel of quantised rows.
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/words.h"
#include "ops/gemm.h"
#include "runtime/extensions.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kBytes = 4;  // a word
constexpr int64_t kDepth = kWordDepth<int32_t>;

template <class T>
struct Limits;
template <>
struct Limits<float> {
  static constexpr float kLeastNormal = 0x1p-126f, kGreatest = 0x1.fffffep127f, kRound = 0x1.8p23f;
};
template <>
struct Limits<double> {
  static constexpr double kLeastNormal = 0x1p-1022, kGreatest = 0x1.fffffffffffffp1023,
                          kRound = 0x1.8p52;
};

template <class T>
struct RowScale {
  T scale, inverse, zero;
};

template <class T>
RowScale<T> row_scale(const T* x, int64_t n) {
  constexpr int64_t kSize = Vec<T>::kSize;
  constexpr int kChains = 4;
  Vec<T> least[kChains], greatest[kChains];
  FASTNN_UNROLL
  for (int c = 0; c < kChains; ++c) least[c] = greatest[c] = Vec<T>::zero();
  int64_t i = 0;
  for (; i + kChains * kSize <= n; i += kChains * kSize) {
    FASTNN_UNROLL
    for (int c = 0; c < kChains; ++c) {
      const Vec<T> v = Vec<T>::load(x + i + c * kSize);
      least[c] = min_nan(v, least[c]);
      greatest[c] = max_nan(v, greatest[c]);
    }
  }
  for (; i < n; i += kSize) {
    const Vec<T> v = Vec<T>::load(x + i, n - i);
    least[0] = min_nan(v, least[0]);
    greatest[0] = max_nan(v, greatest[0]);
  }
  FASTNN_UNROLL
  for (int c = 1; c < kChains; ++c) {
    least[0] = min_nan(least[0], least[c]);
    greatest[0] = max_nan(greatest[0], greatest[c]);
  }
  const T low = reduce_min_nan(least[0]), high = reduce_max_nan(greatest[0]);
  T scale = high / 255 - low / 255;  // the difference itself may overflow
  if (scale < Limits<T>::kLeastNormal) scale = Limits<T>::kLeastNormal;
  if (!(scale <= Limits<T>::kGreatest)) return {static_cast<T>(__builtin_nan("")), 0, 0};
  const T inverse = 1 / scale;
  return {scale, inverse, -low * inverse + Limits<T>::kRound - Limits<T>::kRound};
}

// The levels of a vector of elements, in the lowest bytes, where adding kRound leaves them.
template <class T>
FASTNN_INLINE IntVec<T> levels(Vec<T> x, const RowScale<T>& row) {
  const Vec<T> level = x * Vec<T>::broadcast(row.inverse) + Vec<T>::broadcast(row.zero);
  const Vec<T> bounded = min(max(level, Vec<T>::zero()), Vec<T>::broadcast(255));
  return bit_cast_to_int(bounded + Vec<T>::broadcast(Limits<T>::kRound));
}

template <class T>
void quantize(const T* x, uint8_t* q, int64_t n, const RowScale<T>& row) {
  constexpr int64_t kSize = Vec<T>::kSize;
  int64_t i = 0;
  for (; i + kSize <= n; i += kSize) store_low_bytes(q + i, levels(Vec<T>::load(x + i), row));
  if (i == n) return;
  uint8_t tail[kSize];
  store_low_bytes(tail, levels(Vec<T>::load(x + i, n - i), row));
  __builtin_memcpy(q + i, tail, static_cast<size_t>(n - i));
}

template <class T>
class QuantizedRows {
 public:
  static int64_t scratch(const WordBlocks& blocks) {
    return round_up(blocks.rows * kScaleWords, 16) + blocks.panel * blocks.depth;
  }

  QuantizedRows(const T* x, int64_t k, const WordBlocks& blocks, int32_t* memory)
      : x_(x), k_(k), scales_(reinterpret_cast<RowScale<T>*>(memory)) {
    stage_ = memory + round_up(blocks.rows * kScaleWords, 16);
  }

  void begin(int64_t row, int64_t rows) {
    first_ = row;
    for (int64_t i = 0; i < rows; ++i) scales_[i] = row_scale(x_ + (row + i) * k_, k_);
  }

  void pack(int32_t* panel, int64_t row, int64_t rows, int64_t p, int64_t depth) {
    int32_t* const words = rows == 1 ? panel : stage_;  // a row alone is its panel
    const int64_t bytes = depth * kBytes, n = min_of(bytes, k_ - p * kBytes);
    for (int64_t i = 0; i < rows; ++i) {
      uint8_t* const q = reinterpret_cast<uint8_t*>(words + i * depth);
      quantize(x_ + (row + i) * k_ + p * kBytes, q, n, scale(row + i));
      for (int64_t j = n; j < bytes; ++j) q[j] = 0;
    }
    if (rows == 1) return;
    pack_panel<float, false>(reinterpret_cast<float*>(panel), rows,
                             reinterpret_cast<const float*>(stage_), rows, depth, depth, 1);
  }

  const RowScale<T>& scale(int64_t row) const { return scales_[row - first_]; }

 private:
  static constexpr int64_t kScaleWords = sizeof(RowScale<T>) / sizeof(int32_t);
  const T* x_;
  int64_t k_;
  RowScale<T>* scales_;
  int32_t* stage_;
  int64_t first_ = 0;
};

struct PackedWeight : PackedWords {
  int64_t words;

  int64_t elements() const { return (words + max_of(1, ceil_div(words, kDepth))) * cols; }
  int64_t column_sums(int64_t p) const { return (words + p / kDepth) * cols; }
};

PackedWeight packed_weight(const int32_t* data, int64_t n, int64_t k) {
  return {{data, round_up(n, kWordGroup)}, ceil_div(k, kBytes)};
}

// y (+)= (sums - zero * column sums) * scale * weight_scale, and with the last block the epilogue.
template <class T>
struct Dequantize {
  const QuantizedLinearForwardArgs<T>& args;
  const PackedWeight& weight;
  const QuantizedRows<T>& rows_of_x;
  OutputEpilogue<T, ColumnBias<T>> epilogue{
      {args.bias}, T(1), args.residual, args.n, args.activation};

  // The epilogue runs on a copy: rows of y that are a power of two apart push each other out of L1.
  void operator()(const int32_t* sums, int64_t stride, int64_t row, int64_t col, int64_t rows,
                  int64_t cols, int64_t p) const {
    alignas(64) T tile[kMaxSums * Words::kSize];
    T* const y = args.y + row * args.n + col;
    for (int64_t i = 0; i < rows; ++i) {
      T* const values = tile + i * stride;
      dequantize(sums + i * stride, row + i, col, cols, p, values);
      if (p == 0) continue;
      for (int64_t j = 0; j < cols; ++j) values[j] += y[i * args.n + j];
    }
    if (p + kDepth >= weight.words) epilogue(tile, stride, row, col, rows, cols);
    store_tile(tile, stride, y, args.n, rows, cols);
  }

  void dequantize(const int32_t* sums, int64_t row, int64_t col, int64_t cols, int64_t p,
                  T* values) const {
    constexpr int64_t kSize = Vec<T>::kSize;
    const RowScale<T>& scale = rows_of_x.scale(row);
    const uint32_t zero = static_cast<uint32_t>(scale.zero);
    const int32_t* const column_sums = weight.data + weight.column_sums(p) + col;
    for (int64_t j = 0; j < round_up(cols, kSize); ++j) {
      const uint32_t sum =
          static_cast<uint32_t>(sums[j]) - zero * static_cast<uint32_t>(column_sums[j]);
      values[j] = static_cast<T>(static_cast<int32_t>(sum));
    }
    for (int64_t j = 0; j < cols; j += kSize) {
      const Vec<T> v = Vec<T>::load(values + j) * Vec<T>::broadcast(scale.scale) *
                       Vec<T>::load(args.weight_scale + col + j, cols - j);
      v.store(values + j);
    }
  }
};

template <class Dot, class T>
void multiply(const QuantizedLinearForwardArgs<T>& args) {
  const PackedWeight weight = packed_weight(args.weight, args.n, args.k);
  word_grid<Dot, QuantizedRows<T>>(1, args.m, args.n, weight.words,
                                   [&](int64_t, const Rectangle& cell, const WordBlocks& blocks,
                                       int32_t* scratch, int32_t* extra) {
                                     QuantizedRows<T> x(args.x, args.k, blocks, extra);
                                     word_cell<Dot>(cell, weight.words, blocks, x, weight, scratch,
                                                    Dequantize<T>{args, weight, x});
                                   });
}

// Packs kWordGroup columns (rows of the weight, zeros past n) from word p on.
void pack_weight_group(const int8_t* weight, int64_t n, int64_t k, int64_t col, int64_t p,
                       int64_t depth, int32_t* stage, int32_t* panel, int32_t* column_sums) {
  const int64_t bytes = depth * kBytes, inside = min_of(bytes, k - p * kBytes);
  __builtin_memset(stage, 0, static_cast<size_t>(kWordGroup * bytes));
  for (int64_t j = 0; j < kWordGroup; ++j) {
    column_sums[j] = 0;
    if (col + j >= n) continue;
    int8_t* const row = reinterpret_cast<int8_t*>(stage + j * depth);
    __builtin_memcpy(row, weight + (col + j) * k + p * kBytes, static_cast<size_t>(inside));
    for (int64_t i = 0; i < inside; ++i) column_sums[j] += row[i];
  }
  pack_panel<float, false>(reinterpret_cast<float*>(panel), kWordGroup,
                           reinterpret_cast<const float*>(stage), kWordGroup, depth, depth, 1);
}

}  // namespace

template <class T>
void quantized_linear_forward(const QuantizedLinearForwardArgs<T>& args) {
#if defined(FASTNN_ISA_AVX512)
  if (extensions().int8_dot) return multiply<NativeInt8Dot>(args);
#endif
  multiply<Int8Dot>(args);
}

template <class T>
void pack_quantized_linear(const PackQuantizedLinearArgs<T>& args) {
  const PackedWeight weight = packed_weight(args.packed, args.n, args.k);
  *args.elements = weight.elements();
  if (args.packed == nullptr) return;
  const int64_t stage_words = kWordGroup * min_of(weight.words, kDepth);
  pack_word_groups(weight.cols, weight.words, kDepth, stage_words,
                   [&](int64_t col, int64_t p, int64_t depth, int32_t* stage) {
                     pack_weight_group(args.weight, args.n, args.k, col, p, depth, stage,
                                       args.packed + weight.offset(col, p, depth),
                                       args.packed + weight.column_sums(p) + col);
                   });
}

template void quantized_linear_forward(const QuantizedLinearForwardArgs<float>&);
template void quantized_linear_forward(const QuantizedLinearForwardArgs<double>&);
template void pack_quantized_linear(const PackQuantizedLinearArgs<float>&);
template void pack_quantized_linear(const PackQuantizedLinearArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
