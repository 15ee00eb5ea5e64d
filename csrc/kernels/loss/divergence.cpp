// kl_div, hinge_embedding_loss and margin_ranking_loss.
#include "kernels/loss/pointwise.h"
#include "simd/math.h"

namespace fastnn::FASTNN_ISA {
namespace {

// t log t - t x, where 0 log 0 = 0; or exp(t) (t - x) with logarithms in t. The gradient of
// t log t at 0 is taken as 0.
template <class T>
struct KlDivergence {
  bool log_target;
  FASTNN_INLINE Vec<T> loss(Vec<T> x, Vec<T> t, Vec<T>) const {
    if (log_target) return exp(t) * (t - x);
    const Vec<T> zero = Vec<T>::zero();
    return select(t == zero, zero, t * log(t)) - t * x;
  }
  FASTNN_INLINE Vec<T> input_gradient(Vec<T>, Vec<T> t, Vec<T>) const {
    return log_target ? -exp(t) : -t;
  }
  FASTNN_INLINE Vec<T> target_gradient(Vec<T> x, Vec<T> t, Vec<T>) const {
    const Vec<T> one(T{1});
    if (log_target) return exp(t) * (t - x + one);
    return select(t == Vec<T>::zero(), Vec<T>::zero(), log(t) + one) - x;
  }
  FASTNN_INLINE Vec<T> third_gradient(Vec<T>, Vec<T>, Vec<T>) const { return Vec<T>::zero(); }
};

// x where the target is 1, max(0, margin - x) where it is -1; both elsewhere.
template <class T>
struct HingeEmbedding {
  Vec<T> margin;
  explicit FASTNN_INLINE HingeEmbedding(double m) : margin(static_cast<T>(m)) {}
  FASTNN_INLINE Vec<T> loss(Vec<T> x, Vec<T> t, Vec<T>) const {
    const Vec<T> zero = Vec<T>::zero(), one(T{1});
    return select(t == one, zero, max(zero, margin - x)) + select(t == -one, zero, x);
  }
  FASTNN_INLINE Vec<T> input_gradient(Vec<T> x, Vec<T> t, Vec<T>) const {
    const Vec<T> zero = Vec<T>::zero(), one(T{1});
    const Vec<T> hinge = select((t != one) & (margin - x >= zero), -one, zero);
    return hinge + select(t == -one, zero, one);
  }
  FASTNN_INLINE Vec<T> target_gradient(Vec<T>, Vec<T>, Vec<T>) const { return Vec<T>::zero(); }
  FASTNN_INLINE Vec<T> third_gradient(Vec<T>, Vec<T>, Vec<T>) const { return Vec<T>::zero(); }
};

// max(0, margin - t (x - z)), z the second input.
template <class T>
struct MarginRanking {
  Vec<T> margin;
  explicit FASTNN_INLINE MarginRanking(double m) : margin(static_cast<T>(m)) {}
  FASTNN_INLINE Vec<T> raw(Vec<T> x, Vec<T> t, Vec<T> z) const { return fnma(t, x - z, margin); }
  FASTNN_INLINE Vec<T> active(Vec<T> x, Vec<T> t, Vec<T> z, Vec<T> slope) const {
    return select(raw(x, t, z) >= Vec<T>::zero(), slope, Vec<T>::zero());
  }
  FASTNN_INLINE Vec<T> loss(Vec<T> x, Vec<T> t, Vec<T> z) const {
    return max(Vec<T>::zero(), raw(x, t, z));
  }
  FASTNN_INLINE Vec<T> input_gradient(Vec<T> x, Vec<T> t, Vec<T> z) const {
    return active(x, t, z, -t);
  }
  FASTNN_INLINE Vec<T> target_gradient(Vec<T> x, Vec<T> t, Vec<T> z) const {
    return active(x, t, z, z - x);
  }
  FASTNN_INLINE Vec<T> third_gradient(Vec<T> x, Vec<T> t, Vec<T> z) const {
    return active(x, t, z, t);
  }
};

}  // namespace

FASTNN_POINTWISE_LOSS(kl_div, (KlDivergence<T>{args.flag}));
FASTNN_POINTWISE_LOSS(hinge_embedding_loss, HingeEmbedding<T>(args.parameter));
FASTNN_POINTWISE_LOSS(margin_ranking_loss, MarginRanking<T>(args.parameter));

}  // namespace fastnn::FASTNN_ISA
