// embedding: copies rows of a table; its gradient adds rows into the table. The backward sorts the
// positions by id (counting sort), then every row of the table is summed in registers, in the
// order of the positions, by one thread: no atomics, and rows that no id names are not touched.
// Workspace of the backward: 4 (vocabulary + 1 + min(n, 2^22)) bytes; more positions go in chunks.
#include "ops/embedding.h"

#include "kernels/elementwise/map.h"
#include "runtime/workspace.h"

namespace fastnn::FASTNN_ISA {
namespace {

constexpr int64_t kChunk = int64_t{1} << 22;
constexpr int kTile = 8;  // vectors of a row that are summed at a time

// The positions of one chunk by id: those of id v are order[start[v]] to order[start[v + 1] - 1].
struct Sorted {
  const int32_t* start;
  const int32_t* order;
};

Sorted sort_positions(int64_t n, const int64_t* ids, int64_t vocabulary, Workspace& workspace) {
  int32_t* start = workspace.take<int32_t>(vocabulary + 1);
  int32_t* order = workspace.take<int32_t>(n);
  for (int64_t v = 0; v <= vocabulary; ++v) start[v] = 0;
  for (int64_t i = 0; i < n; ++i) ++start[ids[i]];
  int32_t end = 0;
  for (int64_t v = 0; v <= vocabulary; ++v) start[v] = end += start[v];
  // Filling from the back leaves every start where its id begins.
  for (int64_t i = n - 1; i >= 0; --i) order[--start[ids[i]]] = static_cast<int32_t>(i);
  return {start, order};
}

int64_t sort_bytes(int64_t n, int64_t vocabulary) {
  return Workspace::padded_bytes(4 * (vocabulary + 1)) + Workspace::padded_bytes(4 * n);
}

// Adds the rows of one id to `width` columns of its row of the table.
template <class T>
FASTNN_INLINE void add_rows(const EmbeddingBackwardArgs<T>& args, const int32_t* order,
                            int64_t count, int64_t column, int64_t width, T* out) {
  constexpr int64_t kSize = Vec<T>::kSize;
  Vec<T> sum[kTile];
  FASTNN_UNROLL
  for (int j = 0; j < kTile; ++j) sum[j] = Vec<T>::load(out + j * kSize, width - j * kSize);
  for (int64_t k = 0; k < count; ++k) {
    const int64_t i = order[k];
    const T* row = args.grad_y + (args.rows == nullptr ? i : args.rows[i]) * args.dim + column;
    const Vec<T> factor(args.factors == nullptr ? T(1) : args.factors[i]);
    if (width == kTile * kSize) {
      FASTNN_UNROLL
      for (int j = 0; j < kTile; ++j) sum[j] = fma(Vec<T>::load(row + j * kSize), factor, sum[j]);
    } else {
      FASTNN_UNROLL
      for (int j = 0; j < kTile; ++j) {
        sum[j] = fma(Vec<T>::load(row + j * kSize, width - j * kSize), factor, sum[j]);
      }
    }
  }
  FASTNN_UNROLL
  for (int j = 0; j < kTile; ++j) sum[j].store(out + j * kSize, width - j * kSize);
}

template <class T>
void add_chunk(const EmbeddingBackwardArgs<T>& args, int64_t n) {
  constexpr int64_t kWidth = kTile * Vec<T>::kSize;
  Workspace workspace(sort_bytes(n, args.vocabulary));
  const Sorted sorted = sort_positions(n, args.ids, args.vocabulary, workspace);
  const int64_t tiles = ceil_div(args.dim, kWidth);
  const int64_t all_tiles = args.vocabulary * tiles;
  // Tiles that hold kMapGrain numbers to add on average.
  const int64_t grain = ceil_div(all_tiles, ceil_div(n * args.dim, kMapGrain));
  parallel_for(all_tiles, grain, [=, &args](int64_t begin, int64_t end, int) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t id = tile / tiles, column = tile % tiles * kWidth;
      const int64_t first = sorted.start[id], count = sorted.start[id + 1] - first;
      if (count == 0 || id == args.padding) continue;
      const int64_t rest = args.dim - column;
      add_rows(args, sorted.order + first, count, column, rest < kWidth ? rest : kWidth,
               args.grad_weight + id * args.dim + column);
    }
  });
}

}  // namespace

template <class T>
void embedding_forward(const EmbeddingForwardArgs<T>& args) {
  constexpr int64_t kAhead = 2;  // rows that memory brings meanwhile
  parallel_for(args.n, rows_per_part(args.dim), [&args](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const T* row = args.weight + args.ids[i] * args.dim;
      const T* later = i + kAhead < end ? args.weight + args.ids[i + kAhead] * args.dim : row;
      T* const y = args.y + i * args.dim;
      for_vectors<T>(args.dim, [&](int64_t j, auto lanes) {
        __builtin_prefetch(later + j);
        lanes.store(lanes.load(row + j), y + j);
      });
    }
  });
}

template <class T>
void embedding_backward(const EmbeddingBackwardArgs<T>& args) {
  if (args.dim == 0) return;
  EmbeddingBackwardArgs<T> rest = args;
  for (int64_t begin = 0; begin < args.n; begin += kChunk) {
    const int64_t n = args.n - begin < kChunk ? args.n - begin : kChunk;
    rest.ids = args.ids + begin;
    if (args.rows != nullptr) rest.rows = args.rows + begin;
    if (args.rows == nullptr) rest.grad_y = args.grad_y + begin * args.dim;
    if (args.factors != nullptr) rest.factors = args.factors + begin;
    add_chunk(rest, n);
  }
}

template void embedding_forward(const EmbeddingForwardArgs<float>&);
template void embedding_forward(const EmbeddingForwardArgs<double>&);
template void embedding_backward(const EmbeddingBackwardArgs<float>&);
template void embedding_backward(const EmbeddingBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
