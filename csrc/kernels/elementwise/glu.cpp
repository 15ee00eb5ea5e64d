// glu: the first half of an axis times the sigmoid of the second (Dauphin et al. 2016). x is
// (outer, 2, inner), y is (outer, inner), where inner holds the halved axis and those after it.
#include "kernels/elementwise/activations.h"
#include "kernels/elementwise/map.h"
#include "ops/elementwise.h"

namespace fastnn::FASTNN_ISA {
namespace {

// Rows of `inner` elements cut into pieces of at most kMapGrain.
struct Pieces {
  int64_t inner, in_a_row;
  explicit Pieces(int64_t row_length) : inner(row_length), in_a_row(ceil_div(inner, kMapGrain)) {}
  int64_t row(int64_t piece) const { return piece / in_a_row; }
  int64_t first(int64_t piece) const { return piece % in_a_row * kMapGrain; }
  int64_t size(int64_t piece) const {
    const int64_t rest = inner - first(piece);
    return rest < kMapGrain ? rest : kMapGrain;
  }
};

}  // namespace

template <class T>
void glu_forward(const GluForwardArgs<T>& args) {
  const int64_t inner = args.inner;
  const Pieces pieces(inner);
  parallel_for(args.outer * pieces.in_a_row, rows_per_part(inner),
               [=](int64_t begin, int64_t end, int) {
                 for (int64_t piece = begin; piece < end; ++piece) {
                   const int64_t row = pieces.row(piece), first = pieces.first(piece);
                   const T* x = args.x + row * 2 * inner + first;
                   map_serial(
                       pieces.size(piece), args.y + row * inner + first,
                       [](Vec<T> a, Vec<T> b) { return a * sigmoid(b); }, x, x + inner);
                 }
               });
}

template <class T>
void glu_backward(const GluBackwardArgs<T>& args) {
  const int64_t inner = args.inner;
  const Pieces pieces(inner);
  parallel_for(
      args.outer * pieces.in_a_row, rows_per_part(inner), [=](int64_t begin, int64_t end, int) {
        for (int64_t piece = begin; piece < end; ++piece) {
          const int64_t row = pieces.row(piece), first = pieces.first(piece),
                        n = pieces.size(piece);
          const T* grad = args.grad_y + row * inner + first;
          const T* x = args.x + row * 2 * inner + first;
          T* grad_x = args.grad_x + row * 2 * inner + first;
          map_serial(n, grad_x, [](Vec<T> g, Vec<T> b) { return g * sigmoid(b); }, grad, x + inner);
          map_serial(
              n, grad_x + inner,
              [](Vec<T> g, Vec<T> a, Vec<T> b) { return Sigmoid{}.gradient(g * a, sigmoid(b)); },
              grad, x, x + inner);
        }
      });
}

template void glu_forward(const GluForwardArgs<float>&);
template void glu_forward(const GluForwardArgs<double>&);
template void glu_backward(const GluBackwardArgs<float>&);
template void glu_backward(const GluBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
