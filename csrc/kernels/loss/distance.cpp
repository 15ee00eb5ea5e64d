// cosine_similarity and pairwise_distance of pairs of rows: a row's sums run over blocks of
// kLossBlock elements in T and over the blocks in double, by one thread.
#include "kernels/loss/pointwise.h"
#include "simd/math.h"

namespace fastnn::FASTNN_ISA {
namespace {

// Rows a part.
FASTNN_INLINE int64_t row_grain(int64_t size) {
  const int64_t grain = kLossPart / (size > 0 ? size : 1);
  return grain > 0 ? grain : 1;
}

// Sum over a row of value(i, count).
template <class T, class Value>
FASTNN_INLINE double row_sum(int64_t size, const Value& value) {
  double sum = 0;
  for (int64_t i = 0; i < size; i += kLossBlock) {
    sum += block_sum<T>(i, i + kLossBlock < size ? i + kLossBlock : size, value);
  }
  return sum;
}

template <class T>
FASTNN_INLINE Vec<T> sign(Vec<T> d) {
  const Vec<T> zero = Vec<T>::zero(), one(T{1});
  return select(d > zero, one, select(d < zero, -one, d));
}

// |d|^q, and 0 for d = 0.
template <class T>
FASTNN_INLINE Vec<T> power(Vec<T> magnitude, double q) {
  const Vec<T> zero = Vec<T>::zero();
  return select(magnitude == zero, zero, exp(Vec<T>(static_cast<T>(q)) * log(magnitude)));
}

FASTNN_INLINE double scalar_power(double x, double q) {
  double lanes[Vec<double>::kSize];
  power(Vec<double>(x), q).store(lanes);
  return lanes[0];
}

template <class T>
FASTNN_INLINE double largest(int64_t size, const T* a, const T* b, Vec<T> eps) {
  Vec<T> most = Vec<T>::zero();
  for_each_vector<T>(0, size, [&](int64_t i, auto count) {
    const Vec<T> d = abs(load_part(a + i, count) - load_part(b + i, count) + eps);
    most = max_nan(most, select(part_mask<T>(count), d, Vec<T>::zero()));
  });
  return static_cast<double>(reduce_max_nan(most));
}

}  // namespace

// sum of a b over the product of the norms. A norm is at least eps or, if the args say so,
// sqrt(sum of squares + eps). `norms` receives both for the gradient.
template <class T>
void cosine_similarity_forward(const CosineForwardArgs<T>& args) {
  const auto each_row = [&](int64_t row) {
    const T* a = args.a + row * args.size;
    const T* b = args.b + row * args.size;
    const auto products = [&](const T* x, const T* y) {
      return row_sum<T>(args.size, [=](int64_t i, auto count) {
        return load_part(x + i, count) * load_part(y + i, count);
      });
    };
    const auto norm = [&](double squares) {
      if (args.add_eps) return __builtin_sqrt(squares + args.eps);
      const double root = __builtin_sqrt(squares);
      return root < args.eps ? args.eps : root;
    };
    const double norm_a = norm(products(a, a)), norm_b = norm(products(b, b));
    if (args.norms != nullptr) {
      args.norms[row] = static_cast<T>(norm_a);
      args.norms[args.rows + row] = static_cast<T>(norm_b);
    }
    args.similarity[row] = static_cast<T>(products(a, b) / (norm_a * norm_b));
  };
  parallel_for(args.rows, row_grain(args.size), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) each_row(row);
  });
}

// grad_a = g (b / (|a| |b|) - cos a / |a|^2), where the second term is left out if |a| is eps.
template <class T>
void cosine_similarity_backward(const CosineBackwardArgs<T>& args) {
  const auto each_row = [&](int64_t row) {
    const T norm_a = args.norms[row], norm_b = args.norms[args.rows + row];
    const T g = args.grad[row], eps = static_cast<T>(args.eps);
    const Vec<T> cross(g / (norm_a * norm_b));
    const auto own = [&](T norm) {
      const bool clamped = !args.add_eps && norm <= eps;
      return Vec<T>(clamped ? T{0} : g * args.similarity[row] / (norm * norm));
    };
    const Vec<T> own_a = own(norm_a), own_b = own(norm_b);
    const int64_t offset = row * args.size;
    for_each_vector<T>(0, args.size, [&](int64_t i, auto count) {
      const Vec<T> a = load_part(args.a + offset + i, count);
      const Vec<T> b = load_part(args.b + offset + i, count);
      if (args.grad_a) store_part(args.grad_a + offset + i, count, fnma(own_a, a, cross * b));
      if (args.grad_b) store_part(args.grad_b + offset + i, count, fnma(own_b, b, cross * a));
    });
  };
  parallel_for(args.rows, row_grain(args.size), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) each_row(row);
  });
}

// The p-norm of d = a - b + eps; p = 0 counts the elements that are not zero.
template <class T>
void pairwise_distance_forward(const DistanceForwardArgs<T>& args) {
  const double p = args.p;
  const Vec<T> eps(static_cast<T>(args.eps)), zero = Vec<T>::zero(), one(T{1});
  const auto each_row = [&](int64_t row) {
    const T* a = args.a + row * args.size;
    const T* b = args.b + row * args.size;
    const auto sum_of = [&](const auto& term) {
      return row_sum<T>(args.size, [&](int64_t i, auto count) {
        return term(abs(load_part(a + i, count) - load_part(b + i, count) + eps));
      });
    };
    double result;
    if (p == 2.0) {
      result = __builtin_sqrt(sum_of([](Vec<T> d) { return d * d; }));
    } else if (p == 1.0) {
      result = sum_of([](Vec<T> d) { return d; });
    } else if (p == 0.0) {
      result = sum_of([&](Vec<T> d) { return select(d == zero, zero, one); });
    } else if (__builtin_isinf(p)) {
      result = largest(args.size, a, b, eps);
    } else {
      result = scalar_power(sum_of([&](Vec<T> d) { return power(d, p); }), 1 / p);
    }
    args.distance[row] = static_cast<T>(result);
  };
  parallel_for(args.rows, row_grain(args.size), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) each_row(row);
  });
}

// g sign(d) (|d| / distance)^(p - 1), 0 where the distance is 0; for p = infinity, g shared by the
// elements of the largest magnitude.
template <class T>
void pairwise_distance_backward(const DistanceBackwardArgs<T>& args) {
  const double p = args.p;
  const Vec<T> eps(static_cast<T>(args.eps)), zero = Vec<T>::zero(), one(T{1});
  const auto each_row = [&](int64_t row) {
    const int64_t offset = row * args.size;
    const T g = args.grad[row];
    const Vec<T> distance(args.distance[row]);
    const bool flat = p == 0.0 || args.distance[row] == T{0};
    const auto difference = [&](int64_t i, auto count) {
      return load_part(args.a + offset + i, count) - load_part(args.b + offset + i, count) + eps;
    };
    T share = g;
    if (__builtin_isinf(p)) {
      share =
          static_cast<T>(static_cast<double>(g) / row_sum<T>(args.size, [&](int64_t i, auto count) {
                           return select(abs(difference(i, count)) == distance, one, zero);
                         }));
    }
    for_each_vector<T>(0, args.size, [&](int64_t i, auto count) {
      const Vec<T> d = difference(i, count);
      Vec<T> slope = zero;
      if (flat) {
        slope = zero;
      } else if (p == 2.0) {
        slope = d / distance;
      } else if (p == 1.0) {
        slope = sign(d);
      } else if (__builtin_isinf(p)) {
        slope = select(abs(d) == distance, sign(d), zero);
      } else {
        slope = sign(d) * power(abs(d) / distance, p - 1);
      }
      const Vec<T> value = Vec<T>(share) * slope;
      if (args.grad_a) store_part(args.grad_a + offset + i, count, value);
      if (args.grad_b) store_part(args.grad_b + offset + i, count, -value);
    });
  };
  parallel_for(args.rows, row_grain(args.size), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) each_row(row);
  });
}

#define FASTNN_INSTANTIATE(T)                                             \
  template void cosine_similarity_forward(const CosineForwardArgs<T>&);   \
  template void cosine_similarity_backward(const CosineBackwardArgs<T>&); \
  template void pairwise_distance_forward(const DistanceForwardArgs<T>&); \
  template void pairwise_distance_backward(const DistanceBackwardArgs<T>&);
FASTNN_INSTANTIATE(float)
FASTNN_INSTANTIATE(double)
#undef FASTNN_INSTANTIATE

}  // namespace fastnn::FASTNN_ISA
