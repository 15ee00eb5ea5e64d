// Power-average pooling: y = (K mean(x^p))^(1/p) over each window of K elements, with the mean
// over those inside the input (as in PyTorch, which composes it of average pooling).
//
// Its gradient is g y^(1-p) K / count summed over the windows of x, times x^(p-1): average
// pooling's backward pass between two element-wise ones. Windows whose mean is 0 give none.
#include "kernels/pool/divisor.h"
#include "kernels/pool/slide.h"

namespace fastnn::FASTNN_ISA {

using namespace pool;

template <class T>
void avg_pool3d_backward(const AvgPoolBackwardArgs<T>&);

namespace {

FASTNN_INLINE float scalar_power(float x, float p) { return __builtin_powf(x, p); }
FASTNN_INLINE double scalar_power(double x, double p) { return __builtin_pow(x, p); }

// lanes^p; small whole exponents by multiplication, others element by element. Not inlined: its
// callers raise powers in many places.
template <class T>
__attribute__((noinline)) void raise(T* lanes, double p) {
  const Vec<T> x = Vec<T>::load(lanes);
  if (p == 0) return Vec<T>(T{1}).store(lanes);
  if (p == 3) return (x * x * x).store(lanes);
  for (int64_t i = 0; i < Vec<T>::kSize; ++i) lanes[i] = scalar_power(lanes[i], static_cast<T>(p));
}

template <class T>
FASTNN_INLINE Vec<T> power(Vec<T> x, double p) {
  if (p == 1) return x;
  if (p == 2) return x * x;
  if (p == 0.5) return sqrt(x);
  if (p == -1) return Vec<T>(T{1}) / x;
  alignas(64) T lanes[Vec<T>::kSize];
  x.store(lanes);
  raise(lanes, p);
  return Vec<T>::load(lanes);
}

struct AddPowers {
  static constexpr bool kPlainInput = false;
  double p;
  template <class T>
  FASTNN_INLINE Vec<T> input(Vec<T> x) const {
    return power(x, p);
  }
  template <class T>
  static constexpr FASTNN_INLINE T neutral() {
    return 0;
  }
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> sum, Vec<T> x) const {
    return sum + x;
  }
  template <class T>
  static FASTNN_INLINE T reduce(Vec<T> sum) {
    return reduce_add(sum);
  }
};

template <class T>
struct Root {
  Divisor<T> divisor;
  T volume;
  double p;

  template <class Args>
  explicit Root(const Args& args)
      : divisor(args),
        volume(static_cast<T>(args.depth.kernel * args.height.kernel * args.width.kernel)),
        p(args.power) {}

  int64_t scratch_elements(int64_t outputs) const { return divisor.scratch_elements(outputs); }
  void prepare(T* scratch, int64_t pitch, int64_t rows) { divisor.prepare(scratch, pitch, rows); }
  FASTNN_INLINE int64_t uniform_rows(int64_t od, int64_t oh, int64_t most) const {
    return divisor.uniform_rows(od, oh, most);
  }

  template <class Mean>
  struct RowOf {
    Mean mean;
    T volume;
    double inverse;
    FASTNN_INLINE Vec<T> operator()(Vec<T> sum, int64_t j) const {
      return power(mean(sum, j) * Vec<T>(volume), inverse);
    }
  };
  FASTNN_INLINE RowOf<typename Divisor<T>::Row> row(int64_t od, int64_t oh, int64_t ow) const {
    return {divisor.row(od, oh, ow), volume, 1 / p};
  }
  static int64_t plane_elements(int64_t outputs) { return Divisor<T>::plane_elements(outputs); }
  RowOf<typename Divisor<T>::Plane> plane(T* scratch) const {
    return {divisor.plane(scratch), volume, 1 / p};
  }
  FASTNN_INLINE T operator()(T sum, const Place& o) const {
    return scalar_power(divisor(sum, o) * volume, static_cast<T>(1 / p));
  }
};

// Parts of a contiguous array: f(i, n) for n <= kSize elements from i.
template <class T, class F>
void for_each_vector(int64_t count, const F& f) {
  parallel_for(count, kPartWork / 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i += Vec<T>::kSize) f(i, smaller(Vec<T>::kSize, end - i));
  });
}

}  // namespace

template <class T>
void lp_pool3d_forward(const LpPoolForwardArgs<T>& args) {
  Root<T> root(args);
  const AddPowers add{args.power};
  if (slides(args.depth, args.height, args.width)) {
    return slide<T, AddPowers>(args.planes, args.depth, args.height, args.width, args.x, args.y,
                               root, add);
  }
  fold_windows<T, AddPowers>(args.planes, args.depth, args.height, args.width, args.x, args.y, root,
                             add);
}

template <class T>
void lp_pool3d_backward(const LpPoolBackwardArgs<T>& args) {
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  const Vec<T> volume(static_cast<T>(depth.kernel * height.kernel * width.kernel));
  for_each_vector<T>(args.planes * depth.out * height.out * width.out, [&](int64_t i, int64_t n) {
    const Vec<T> y = Vec<T>::load(args.y + i, n), grad = Vec<T>::load(args.grad_y + i, n);
    const Vec<T> share = grad * volume * power(y, 1 - args.power);
    select(y == Vec<T>::zero(), Vec<T>::zero(), share).store(args.shares + i, n);
  });
  avg_pool3d_backward(AvgPoolBackwardArgs<T>{args.planes, depth, height, width, args.count_padding,
                                             args.divisor_override, args.shares, args.grad_x});
  for_each_vector<T>(args.planes * depth.in * height.in * width.in, [&](int64_t i, int64_t n) {
    const Vec<T> slope = power(Vec<T>::load(args.x + i, n), args.power - 1);
    (Vec<T>::load(args.grad_x + i, n) * slope).store(args.grad_x + i, n);
  });
}

template void lp_pool3d_forward(const LpPoolForwardArgs<float>&);
template void lp_pool3d_forward(const LpPoolForwardArgs<double>&);
template void lp_pool3d_backward(const LpPoolBackwardArgs<float>&);
template void lp_pool3d_backward(const LpPoolBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
