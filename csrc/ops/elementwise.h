// Element-wise operations on n contiguous elements.
#pragma once

#include <cstdint>

namespace fastnn {

// y[i] = f(x[i]). y may be x.
template <class T>
struct UnaryForwardArgs {
  int64_t n;
  const T* x;
  T* y;
};

// grad_x[i] = grad_y[i] * f'(.), where f' is taken at `saved`: the forward's input or output,
// whichever the kernel names. grad_x may be grad_y or saved.
template <class T>
struct UnaryBackwardArgs {
  int64_t n;
  const T* grad_y;
  const T* saved;
  T* grad_x;
};

}  // namespace fastnn
