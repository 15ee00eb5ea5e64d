// Margin losses of rows of classes. Rows are shared among the threads. Workspace: 8 bytes a part of
// rows; for multilabel_margin_loss also, a worker, a flag and two scores a class.
#include "kernels/loss/pointwise.h"
#include "kernels/rows.h"

namespace fastnn::FASTNN_ISA {
namespace {

// Sum of max(0, score - threshold)^p over n scores; p is 1 or 2.
template <class T>
__attribute__((noinline)) double hinge_sum(const T* scores, int64_t n, T threshold, bool squared) {
  return block_sum<T>(0, n, [&](int64_t i, auto count) FASTNN_INLINE_LAMBDA {
    const Vec<T> over = max_nan(load_part(scores + i, count) - Vec<T>(threshold), Vec<T>::zero());
    return squared ? over * over : over;
  });
}

// Adds the slopes of hinge_sum by its scores, times `scale`, to `to`; returns their sum.
template <class T>
__attribute__((noinline)) T add_hinge_slopes(const T* scores, int64_t n, T threshold, bool squared,
                                             T scale, T* to) {
  const Vec<T> factor(squared ? 2 * scale : scale), zero = Vec<T>::zero();
  return static_cast<T>(block_sum<T>(0, n, [&](int64_t i, auto count) FASTNN_INLINE_LAMBDA {
    const Vec<T> over = load_part(scores + i, count) - Vec<T>(threshold);
    const Vec<T> slope = select(over > zero, squared ? over * factor : factor, zero);
    store_part(to + i, count, load_part(to + i, count) + slope);
    return slope;
  }));
}

// loss[row] = value(row, worker), or total = the sum of all / divisor.
template <class T, class Value>
FASTNN_INLINE void row_losses(const ClassMarginForwardArgs<T>& args, Workspace& workspace,
                              const Value& value) {
  const int64_t grain = rows_a_part(args.classes);
  double* const sums = workspace.take<double>(ceil_div(args.rows, grain));
  parallel_for(args.rows, grain, [&](int64_t begin, int64_t end, int worker) {
    double sum = 0;
    for (int64_t row = begin; row < end; ++row) {
      const double loss = value(row, worker) / static_cast<double>(args.classes);
      if (args.loss != nullptr) args.loss[row] = static_cast<T>(loss);
      sum += loss;
    }
    sums[begin / grain] = sum;
  });
  double total = 0;
  for (int64_t part = 0; part < ceil_div(args.rows, grain); ++part) total += sums[part];
  if (args.loss == nullptr) *args.total = static_cast<T>(total / args.divisor);
}

template <class T>
int64_t sum_bytes(const ClassMarginForwardArgs<T>& args) {
  const int64_t parts = ceil_div(args.rows, rows_a_part(args.classes));
  return Workspace::padded_bytes(parts * static_cast<int64_t>(sizeof(double)));
}

// What the loss of a row, a sum of hinges, is to be multiplied by in its gradient.
template <class T>
FASTNN_INLINE T row_scale(const ClassMarginBackwardArgs<T>& args, int64_t row) {
  const double grad = args.grad_is_scalar ? static_cast<double>(*args.grad_loss) / args.divisor
                                          : static_cast<double>(args.grad_loss[row]);
  return static_cast<T>(grad / static_cast<double>(args.classes));
}

// The scores of a row's wrong classes side by side, and which classes are right; for each worker.
template <class T>
struct WrongClasses {
  int64_t classes, count = 0;  // of the row
  int64_t right = 0;           // labels before the first -1
  uint8_t* is_right;
  T* scores;
  T* slopes;

  static int64_t bytes(int64_t rows, int64_t classes) {
    const int64_t workers = plan_workers(ceil_div(rows, rows_a_part(classes)));
    return Workspace::padded_bytes(workers * classes) +
           2 * Workspace::padded_bytes(workers * classes * static_cast<int64_t>(sizeof(T)));
  }

  WrongClasses(Workspace& workspace, int64_t rows, int64_t classes_of_row)
      : classes(classes_of_row) {
    const int64_t workers = plan_workers(ceil_div(rows, rows_a_part(classes)));
    is_right = workspace.take<uint8_t>(workers * classes);
    scores = workspace.take<T>(workers * classes);
    slopes = workspace.take<T>(workers * classes);
  }

  // The worker's own, filled for a row.
  FASTNN_INLINE WrongClasses of(const T* row, const int64_t* labels, int worker) const {
    WrongClasses own = *this;
    const int64_t at = worker * classes;
    own.is_right += at, own.scores += at, own.slopes += at;
    __builtin_memset(own.is_right, 0, static_cast<size_t>(classes));
    for (; own.right < classes && labels[own.right] >= 0; ++own.right) {
      own.is_right[labels[own.right]] = 1;
    }
    for (int64_t i = 0; i < classes; ++i) {
      if (own.is_right[i] == 0) own.scores[own.count++] = row[i];
    }
    return own;
  }
};

}  // namespace

template <class T>
void multi_margin_loss_forward(const ClassMarginForwardArgs<T>& args) {
  Workspace workspace(sum_bytes(args));
  row_losses(args, workspace, [&](int64_t row, int) {
    const T* const x = args.input + row * args.classes;
    const int64_t right = args.target[row];
    const T threshold = x[right] - static_cast<T>(args.margin);
    const double sum = hinge_sum(x, right, threshold, args.squared) +
                       hinge_sum(x + right + 1, args.classes - right - 1, threshold, args.squared);
    return args.weight == nullptr ? sum : sum * static_cast<double>(args.weight[right]);
  });
}

template <class T>
void multi_margin_loss_backward(const ClassMarginBackwardArgs<T>& args) {
  parallel_for(args.rows, rows_a_part(args.classes), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t right = args.target[row];
      const T* const x = args.input + row * args.classes;
      T* const to = args.grad_input + row * args.classes;
      const T threshold = x[right] - static_cast<T>(args.margin);
      const T scale = row_scale(args, row) * (args.weight ? args.weight[right] : T{1});
      const int64_t after = right + 1;
      __builtin_memset(to, 0, static_cast<size_t>(args.classes) * sizeof(T));
      to[right] = -(add_hinge_slopes(x, right, threshold, args.squared, scale, to) +
                    add_hinge_slopes(x + after, args.classes - after, threshold, args.squared,
                                     scale, to + after));
    }
  });
}

template <class T>
void multilabel_margin_loss_forward(const ClassMarginForwardArgs<T>& args) {
  Workspace workspace(sum_bytes(args) + WrongClasses<T>::bytes(args.rows, args.classes));
  const WrongClasses<T> shared(workspace, args.rows, args.classes);
  row_losses(args, workspace, [&](int64_t row, int worker) {
    const T* const x = args.input + row * args.classes;
    const int64_t* const labels = args.target + row * args.classes;
    const WrongClasses<T> wrong = shared.of(x, labels, worker);
    double sum = 0;
    for (int64_t k = 0; k < wrong.right; ++k) {
      sum += hinge_sum(wrong.scores, wrong.count, x[labels[k]] - T{1}, /*squared=*/false);
    }
    return sum;
  });
}

template <class T>
void multilabel_margin_loss_backward(const ClassMarginBackwardArgs<T>& args) {
  Workspace workspace(WrongClasses<T>::bytes(args.rows, args.classes));
  const WrongClasses<T> shared(workspace, args.rows, args.classes);
  parallel_for(args.rows, rows_a_part(args.classes), [&](int64_t begin, int64_t end, int worker) {
    for (int64_t row = begin; row < end; ++row) {
      const T* const x = args.input + row * args.classes;
      const int64_t* const labels = args.target + row * args.classes;
      T* const to = args.grad_input + row * args.classes;
      const WrongClasses<T> wrong = shared.of(x, labels, worker);
      __builtin_memset(to, 0, static_cast<size_t>(args.classes) * sizeof(T));
      __builtin_memset(wrong.slopes, 0, static_cast<size_t>(args.classes) * sizeof(T));
      const T scale = row_scale(args, row);
      for (int64_t k = 0; k < wrong.right; ++k) {
        to[labels[k]] -= add_hinge_slopes(wrong.scores, wrong.count, x[labels[k]] - T{1},
                                          /*squared=*/false, scale, wrong.slopes);
      }
      for (int64_t i = 0, at = 0; i < args.classes; ++i) {
        if (wrong.is_right[i] == 0) to[i] = wrong.slopes[at++];
      }
    }
  });
}

#define FASTNN_INSTANTIATE(T)                                                     \
  template void multi_margin_loss_forward(const ClassMarginForwardArgs<T>&);      \
  template void multi_margin_loss_backward(const ClassMarginBackwardArgs<T>&);    \
  template void multilabel_margin_loss_forward(const ClassMarginForwardArgs<T>&); \
  template void multilabel_margin_loss_backward(const ClassMarginBackwardArgs<T>&)
FASTNN_INSTANTIATE(float);
FASTNN_INSTANTIATE(double);
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
