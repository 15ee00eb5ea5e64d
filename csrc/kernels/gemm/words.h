// Matrix products of reduced precision, over words (simd/dot.h): rows of A and columns of B are
// words along the summed dimension, the last one filled up with zeros.
//
// word_cell computes a rectangle of C on one thread. A tile's sums stay in registers over all of K
// where that is at most kWordDepth; a longer K is cut into blocks of depth, between which
// floating-point sums go on and integers, which would overflow, are finished by themselves.
// word_grid cuts a batch of products into cells and runs them on all threads; as every element is
// one chain of sums in the order of k, its bits do not depend on the cut.
//
// A-operand: `begin(row, rows)` before a block of rows; `pack(int32_t* panel, row, rows, p, depth)`
//   packs a panel [depth][rows] of words; `scratch(blocks)`, the words of memory that it wants.
// B-operand: `const int32_t* block(int32_t* scratch, col, cols, p, depth)` gives groups of
//   kWordGroup columns, each laid out [depth][kWordGroup], the last one filled up with zeros.
// finish(sums, stride, row, col, rows, cols, p) finishes a tile's sums over the words from p on.
//
// Workspace a thread: 4 MiB, or a panel, of A; half of L2, or a group, of B; where sums go on, 4
// MiB, or a panel, of them; all of at most kWordDepth.
#pragma once

#include "kernels/gemm/engine.h"
#include "kernels/gemm/word_tile.h"

namespace fastnn::FASTNN_ISA {

// Products of bytes, at most 255 * 128, stay below 2^31 for 16448 words.
template <class Lane>
inline constexpr int64_t kWordDepth = 16384;
template <>
inline constexpr int64_t kWordDepth<float> = 4096;
template <class Lane>
inline constexpr bool kSumsGoOn = false;
template <>
inline constexpr bool kSumsGoOn<float> = true;

// A rectangle of C.
struct Rectangle {
  int64_t row, rows, col, cols;
};

// A B that was packed whole: for every block of depth all its groups of columns.
struct PackedWords {
  const int32_t* data;
  int64_t cols;  // rounded up to kWordGroup

  int64_t offset(int64_t col, int64_t p, int64_t depth) const { return p * cols + col * depth; }
  const int32_t* block(int32_t*, int64_t col, int64_t, int64_t p, int64_t depth) const {
    return data + offset(col, p, depth);
  }
};

// How a cell is cut, and what memory that takes in words.
struct WordBlocks {
  int64_t panel, rows, cols, depth;
  int64_t packed_a, packed_b, sums;
  bool keep_sums;
};

template <class Dot>
WordBlocks choose_word_blocks(int64_t rows, int64_t cols, int64_t words) {
  constexpr int64_t kBlock = int64_t{1} << 20, kMaxCols = 2048;
  using Lane = typename Dot::Lane;
  WordBlocks blocks{};
  blocks.panel = ceil_div(rows, ceil_div(rows, kWordTileRows<Dot>));
  blocks.depth = max_of(1, min_of(words, kWordDepth<Lane>));
  blocks.keep_sums = kSumsGoOn<Lane> && words > blocks.depth;
  const int64_t padded_cols = round_up(cols, kWordGroup);
  const int64_t fitting = cache_sizes().l2 / 8 / blocks.depth / kWordGroup * kWordGroup;
  blocks.cols = min_of(padded_cols, min_of(max_of(fitting, kWordGroup), kMaxCols));
  // With one block of columns a panel is used up while it is in L1.
  blocks.rows = blocks.panel;
  if (blocks.cols < cols || blocks.keep_sums) {
    int64_t most = kBlock / blocks.depth;
    if (blocks.keep_sums) most = min_of(most, kBlock / padded_cols);
    blocks.rows = min_of(max_of(most / blocks.panel, 1) * blocks.panel, rows);
  }
  blocks.packed_a = round_up(blocks.rows * blocks.depth, 16);
  blocks.packed_b = blocks.cols * blocks.depth;
  blocks.sums = blocks.keep_sums ? blocks.rows * padded_cols : kSums<Dot> * Words::kSize;
  return blocks;
}

// Copies a finished tile, whole vectors, to where it belongs.
template <class T>
void store_tile(const T* tile, int64_t stride, T* c, int64_t c_stride, int64_t rows, int64_t cols) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; j += Vec<T>::kSize) {
      Vec<T>::load(tile + i * stride + j).store(c + i * c_stride + j, cols - j);
    }
  }
}

// All tiles of a block of packed A times one of packed B. `sums` belongs to the block's first
// element, or is one tile's where they are not kept.
template <class Dot, class Finish>
void run_word_block(const Rectangle& block, const WordBlocks& blocks, const int32_t* a,
                    const int32_t* b, int64_t p, int64_t depth, typename Dot::Lane* sums,
                    int64_t sums_stride, bool last, const Finish& finish) {
  for (int64_t i = 0; i < block.rows; i += blocks.panel) {
    const int64_t rows = min_of(blocks.panel, block.rows - i);
    const int64_t width = word_tile_vectors<Dot>(static_cast<int>(rows)) * Words::kSize;
    const int64_t stride = blocks.keep_sums ? sums_stride : width;
    for (int64_t j = 0; j < block.cols; j += width) {
      const int64_t cols = min_of(width, block.cols - j);
      typename Dot::Lane* const tile = blocks.keep_sums ? sums + i * stride + j : sums;
      run_word_tile<Dot>(rows, ceil_div(cols, kWordGroup),
                         {depth, a + i * depth, b + j * depth, depth * kWordGroup, tile, stride,
                          blocks.keep_sums && p > 0});
      if (last || !blocks.keep_sums) {
        finish(tile, stride, block.row + i, block.col + j, rows, cols, p);
      }
    }
  }
}

template <class Dot, class A, class B, class Finish>
void word_cell(const Rectangle& cell, int64_t words, const WordBlocks& blocks, A& a, const B& b,
               int32_t* scratch, const Finish& finish) {
  using Lane = typename Dot::Lane;
  int32_t* const packed_a = scratch;
  int32_t* const packed_b = packed_a + blocks.packed_a;
  Lane* const sums = reinterpret_cast<Lane*>(packed_b + blocks.packed_b);
  const int64_t sums_stride = round_up(cell.cols, kWordGroup);
  const bool one_block = cell.cols <= blocks.cols && words <= blocks.depth;
  const int32_t* block_b = nullptr;
  for (int64_t row = 0; row < cell.rows; row += blocks.rows) {
    const int64_t rows = min_of(blocks.rows, cell.rows - row);
    a.begin(cell.row + row, rows);
    int64_t p = 0;
    do {  // once even for no words, which finishes sums of zero
      const int64_t depth = min_of(blocks.depth, words - p);
      for (int64_t i = 0; i < rows; i += blocks.panel) {
        a.pack(packed_a + i * depth, cell.row + row + i, min_of(blocks.panel, rows - i), p, depth);
      }
      for (int64_t col = 0; col < cell.cols; col += blocks.cols) {
        const Rectangle block{cell.row + row, rows, cell.col + col,
                              min_of(blocks.cols, cell.cols - col)};
        if (block_b == nullptr || !one_block) {
          block_b = b.block(packed_b, block.col, block.cols, p, depth);
        }
        run_word_block<Dot>(block, blocks, packed_a, block_b, p, depth,
                            blocks.keep_sums ? sums + col : sums, sums_stride, p + depth >= words,
                            finish);
      }
      p += depth;
    } while (p < words);
  }
}

// Calls run(i, cell, blocks, scratch, extra) for every cell of every product i < batch, on all
// threads; `extra` is memory of A::scratch(blocks) words.
template <class Dot, class A, class Run>
void word_grid(int64_t batch, int64_t m, int64_t n, int64_t words, const Run& run) {
  if (batch <= 0 || m <= 0 || n <= 0) return;
  const Grid grid = choose_grid<float>(batch, {m, n, words});
  const int64_t cells = grid.down * grid.across;
  const WordBlocks blocks = choose_word_blocks<Dot>(grid.cell_rows, grid.cell_cols, words);
  const int64_t scratch = round_up(blocks.packed_a + blocks.packed_b + blocks.sums, 16);
  const int64_t extra = round_up(A::scratch(blocks), 16);
  const int64_t work = max_of(1, grid.cell_rows * grid.cell_cols * max_of(1, words));
  const int64_t grain = max_of(1, min_of(kMinCellWork / work, batch * cells));
  const int workers = plan_workers(ceil_div(batch * cells, grain));
  Workspace workspace(workers * (scratch + extra) * static_cast<int64_t>(sizeof(int32_t)));
  int32_t* const memory = workspace.take<int32_t>(workers * (scratch + extra));
  parallel_for(batch * cells, grain, [&](int64_t begin, int64_t end, int worker) {
    int32_t* const own = memory + worker * (scratch + extra);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row = item % cells / grid.across * grid.cell_rows;
      const int64_t col = item % cells % grid.across * grid.cell_cols;
      run(item / cells,
          Rectangle{row, min_of(grid.cell_rows, m - row), col, min_of(grid.cell_cols, n - col)},
          blocks, own, own + scratch);
    }
  });
}

// Calls pack(col, p, depth, stage) for every group of columns and block of depth of a B that is
// packed whole, on all threads; `stage` is memory of so many words.
template <class Pack>
void pack_word_groups(int64_t cols, int64_t words, int64_t depth_block, int64_t stage_words,
                      const Pack& pack) {
  const int64_t groups = cols / kWordGroup;
  const int64_t grain = max_of(1, (int64_t{1} << 16) / max_of(1, words * kWordGroup));
  const int workers = plan_workers(ceil_div(groups, grain));
  stage_words = round_up(max_of(stage_words, 1), 16);
  Workspace workspace(workers * stage_words * static_cast<int64_t>(sizeof(int32_t)));
  int32_t* const stages = workspace.take<int32_t>(workers * stage_words);
  parallel_for(groups, grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t col = begin * kWordGroup; col < end * kWordGroup; col += kWordGroup) {
      int64_t p = 0;
      do {  // once even for no words
        const int64_t depth = min_of(depth_block, words - p);
        pack(col, p, depth, stages + worker * stage_words);
        p += depth;
      } while (p < words);
    }
  });
}

}  // namespace fastnn::FASTNN_ISA
