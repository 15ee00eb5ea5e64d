// Products of bfloat16 added in float32.
//
// An element is one chain of fused multiply-adds over pairs of k, in each the second before the
// first, from zero; what the epilogue leaves is rounded once more where C is bfloat16. So its bits
// do not depend on blocking, batch or threads; they are the same on every instruction set with
// fused multiply-add, but for subnormal numbers, which AVX512_BF16 takes for zero.
//
// Packed B: for every block of kWordDepth words its groups of columns, [depth][kWordGroup] each.
// Workspace: that of words.h, and a panel or group of rows before it is transposed.
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/words.h"
#include "kernels/storage.h"
#include "ops/gemm.h"
#include "runtime/extensions.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kPair = 2;  // bfloat16 in a word
constexpr int64_t kDepth = kWordDepth<float>;

// Rows of A, or columns of B, of S = float or bfloat16 (uint16_t).
template <class S>
struct PairedSource {
  const S* data;
  int64_t outer_stride, depth_stride, k;

  // panel[p * panel_stride + i] = the word of row outer + i and pair first + p, for i < width, and
  // zero for width <= i < panel_stride.
  void pack(int32_t* panel, int64_t panel_stride, int64_t outer, int64_t width, int64_t first,
            int64_t depth, int32_t* stage) const {
    if (depth_stride == 1 && width > 0) {
      pack_rows(panel, panel_stride, outer, width, first, depth, stage);
    } else if (outer_stride == 1) {
      pack_pairs(panel, panel_stride, outer, width, first, depth, [](int64_t i) { return i; });
    } else {
      pack_pairs(panel, panel_stride, outer, width, first, depth,
                 [this](int64_t i) { return i * outer_stride; });
    }
  }

 private:
  // Rows are rounded, or filled up, into whole words, which are then transposed; rows that are
  // whole words already are read in place.
  void pack_rows(int32_t* panel, int64_t panel_stride, int64_t outer, int64_t width, int64_t first,
                 int64_t depth, int32_t* stage) const {
    const int64_t n = min_of(depth * kPair, k - first * kPair);
    const S* const rows = data + outer * outer_stride + first * kPair;
    if (sizeof(S) == 2 && n == depth * kPair && outer_stride % kPair == 0 &&
        reinterpret_cast<uintptr_t>(rows) % sizeof(int32_t) == 0) {
      pack_panel<float, true>(reinterpret_cast<float*>(panel), panel_stride,
                              reinterpret_cast<const float*>(rows), width, outer_stride / kPair,
                              depth, 1);
      return;
    }
    if (width == 1 && panel_stride == 1) stage = panel;  // a row alone is its panel
    for (int64_t i = 0; i < width; ++i) {
      uint16_t* const row = reinterpret_cast<uint16_t*>(stage + i * depth);
      round_row(rows + i * outer_stride, row, n);
      if (n < depth * kPair) row[n] = 0;
    }
    if (stage == panel) return;
    pack_panel<float, true>(reinterpret_cast<float*>(panel), panel_stride,
                            reinterpret_cast<const float*>(stage), width, depth, depth, 1);
  }

  template <class Offset>
  void pack_pairs(int32_t* panel, int64_t panel_stride, int64_t outer, int64_t width, int64_t first,
                  int64_t depth, const Offset& offset) const {
    for (int64_t p = 0; p < depth; ++p) {
      const S* const low = data + outer * outer_stride + (first + p) * kPair * depth_stride;
      const bool pair = (first + p) * kPair + 1 < k;
      const S* const high = pair ? low + depth_stride : low;
      const uint32_t mask = pair ? 0xffff0000 : 0;
      int32_t* const words = panel + p * panel_stride;
      for (int64_t i = 0; i < width; ++i) {
        const uint32_t word =
            round_to_bfloat16(low[offset(i)]) |
            (static_cast<uint32_t>(round_to_bfloat16(high[offset(i)])) << 16 & mask);
        words[i] = static_cast<int32_t>(word);
      }
      for (int64_t i = width; i < panel_stride; ++i) words[i] = 0;
    }
  }
};

// The two together: an operand whose dtype is known at run time.
struct PairedOperand {
  ReducedArray array;
  int64_t offset, outer_stride, depth_stride, k;

  void pack(int32_t* panel, int64_t panel_stride, int64_t outer, int64_t width, int64_t first,
            int64_t depth, int32_t* stage) const {
    if (array.is_float) {
      source<float>().pack(panel, panel_stride, outer, width, first, depth, stage);
    } else {
      source<uint16_t>().pack(panel, panel_stride, outer, width, first, depth, stage);
    }
  }

 private:
  template <class S>
  PairedSource<S> source() const {
    return {static_cast<const S*>(array.data) + offset, outer_stride, depth_stride, k};
  }
};

struct PairedRows {
  PairedOperand operand;
  int32_t* stage;

  static int64_t scratch(const WordBlocks& blocks) {
    return max_of(blocks.panel, kWordGroup) * blocks.depth;
  }
  void begin(int64_t, int64_t) {}
  void pack(int32_t* panel, int64_t row, int64_t rows, int64_t p, int64_t depth) const {
    operand.pack(panel, rows, row, rows, p, depth, stage);
  }
};

struct PairedColumns {
  PairedOperand operand;
  int32_t* stage;

  const int32_t* block(int32_t* scratch, int64_t col, int64_t cols, int64_t p,
                       int64_t depth) const {
    for (int64_t j = 0; j < cols; j += kWordGroup) {
      operand.pack(scratch + j * depth, kWordGroup, col + j, min_of(kWordGroup, cols - j), p, depth,
                   stage);
    }
    return scratch;
  }
};

// Finishes a tile of sums in place and stores it in C (m, n).
struct StoreOutput {
  OutputEpilogue<float, ColumnBias<float>> epilogue;
  void* c;
  int64_t n;
  bool is_float;

  void operator()(float* sums, int64_t stride, int64_t row, int64_t col, int64_t rows, int64_t cols,
                  int64_t) const {
    epilogue(sums, stride, row, col, rows, cols);
    const int64_t first = row * n + col;
    if (is_float) {
      store_tile(sums, stride, static_cast<float*>(c) + first, n, rows, cols);
      return;
    }
    for (int64_t i = 0; i < rows; ++i) {
      round_row(sums + i * stride, static_cast<uint16_t*>(c) + first + i * n, cols);
    }
  }
};

template <class Dot, class T>
void multiply(const MatmulBfloat16Args<T>& args) {
  const int64_t words = ceil_div(args.k, kPair), c_bytes = args.c_is_float ? 4 : 2;
  word_grid<Dot, PairedRows>(
      args.batch, args.m, args.n, words,
      [&](int64_t i, const Rectangle& cell, const WordBlocks& blocks, int32_t* scratch,
          int32_t* stage) {
        const int64_t first = i * args.m * args.n;
        PairedRows a{{args.a, args.a_offsets[i], args.a_row_stride, args.a_col_stride, args.k},
                     stage};
        const StoreOutput output{{{args.bias},
                                  args.scale,
                                  args.residual == nullptr ? nullptr : args.residual + first,
                                  args.n,
                                  args.activation},
                                 static_cast<char*>(args.c) + first * c_bytes,
                                 args.n,
                                 args.c_is_float};
        if (args.packed_b != nullptr) {
          const PackedWords b{args.packed_b, round_up(args.n, kWordGroup)};
          word_cell<Dot>(cell, words, blocks, a, b, scratch, output);
        } else {
          const PairedColumns b{
              {args.b, args.b_offsets[i], args.b_col_stride, args.b_row_stride, args.k}, stage};
          word_cell<Dot>(cell, words, blocks, a, b, scratch, output);
        }
      });
}

}  // namespace

template <class T>
void matmul_bfloat16(const MatmulBfloat16Args<T>& args) {
#if defined(FASTNN_ISA_AVX512)
  if (extensions().bfloat16_dot) return multiply<NativeBfloat16Dot>(args);
#endif
  multiply<Bfloat16Dot>(args);
}

template <class T>
void pack_bfloat16(const PackBfloat16Args<T>& args) {
  const int64_t words = ceil_div(args.k, kPair);
  const PackedWords packed{args.packed, round_up(args.n, kWordGroup)};
  *args.elements = words * packed.cols;
  if (args.packed == nullptr) return;
  const PairedOperand b{args.b, 0, args.b_col_stride, args.b_row_stride, args.k};
  pack_word_groups(packed.cols, words, kDepth, kWordGroup * min_of(words, kDepth),
                   [&](int64_t col, int64_t p, int64_t depth, int32_t* stage) {
                     b.pack(args.packed + packed.offset(col, p, depth), kWordGroup, col,
                            min_of(kWordGroup, args.n - col), p, depth, stage);
                   });
}

template void matmul_bfloat16(const MatmulBfloat16Args<float>&);
template void matmul_bfloat16(const MatmulBfloat16Args<double>&);
template void pack_bfloat16(const PackBfloat16Args<float>&);
template void pack_bfloat16(const PackBfloat16Args<double>&);

}  // namespace fastnn::FASTNN_ISA
