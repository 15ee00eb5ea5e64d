// ctc_loss: minus the log-probability of all alignments of a target with an input.
// Graves et al., "Connectionist temporal classification", 2006. Samples are shared among the
// threads. Workspace a thread: 8 (2 max_target + 3) bytes and four rows of 2 max_target + 5
// elements.
#include "kernels/loss/ctc.h"

namespace fastnn::FASTNN_ISA {
namespace {

// Samples are long; each is a part of its own unless it is very short.
inline int64_t sample_grain(int64_t steps, int64_t max_target) {
  const int64_t work = steps * ctc_row_size(max_target);
  const int64_t grain = (int64_t{1} << 11) / (work > 0 ? work : 1);
  return grain > 0 ? grain : 1;
}

template <class T>
FASTNN_INLINE T finite_or_zero(T x) {
  return x == minus_infinity<T>() ? T{0} : x;
}

// log(exp(a) + exp(b))
template <class T>
FASTNN_INLINE double log_add(T a, T b) {
  double lanes[Vec<double>::kSize];
  const Vec<double> none(minus_infinity<double>());
  log_sum(Vec<double>(static_cast<double>(a)), Vec<double>(static_cast<double>(b)), none)
      .store(lanes);
  return lanes[0];
}

// Rows of alpha follow each other for the gradient, or take turns in the scratch.
template <class T>
double forward_sample(const CtcLossForwardArgs<T>& args, const CtcScratch<T>& scratch, int64_t n) {
  const int64_t steps = args.input_lengths[n], length = args.target_lengths[n];
  const int64_t states = 2 * length + 1, row_size = ctc_row_size(args.max_target);
  if (steps == 0) return length == 0 ? 0.0 : -static_cast<double>(minus_infinity<T>());
  scratch.set_labels(args.targets + args.target_offsets[n], length, args.blank);
  const auto row = [&](int64_t t) {
    return args.alpha ? args.alpha + (n * args.steps + t) * row_size : scratch.rows[t % 2];
  };
  T* here = row(0);
  for (int64_t s = 0; s < states + kCtcPadding; ++s) here[s] = minus_infinity<T>();
  const T* log_probs = args.log_probs + n * args.classes;
  here[kCtcPadding] = log_probs[args.blank];
  if (length > 0) here[kCtcPadding + 1] = log_probs[scratch.label[1]];
  T most = here[kCtcPadding];
  if (length > 0 && here[kCtcPadding + 1] > most) most = here[kCtcPadding + 1];
  double offset = 0;
  if (args.offsets) args.offsets[n * (args.steps + 1)] = 0;
  for (int64_t t = 1; t < steps; ++t) {
    T* next = row(t);
    const T shift = finite_or_zero(most);
    for (int64_t s = 0; s < kCtcPadding; ++s) next[s] = minus_infinity<T>();
    scratch.set_emissions(log_probs + t * args.batch * args.classes, states);
    most = ctc_step<T, -1>(states, here + kCtcPadding, next + kCtcPadding, scratch.emission,
                           scratch.skip, shift);
    offset += static_cast<double>(shift);
    if (args.offsets) args.offsets[n * (args.steps + 1) + t] = offset;
    here = next;
  }
  const T* last = here + kCtcPadding + states - 1;
  return -(offset + log_add(last[0], length > 0 ? last[-1] : minus_infinity<T>()));
}

// grad[t, label of s] -= g P(state s at step t), where log P = alpha + beta - emission + loss.
template <class T>
void backward_sample(const CtcLossBackwardArgs<T>& args, const CtcScratch<T>& scratch, int64_t n) {
  const int64_t steps = args.input_lengths[n], length = args.target_lengths[n];
  const int64_t states = 2 * length + 1, row_size = ctc_row_size(args.max_target);
  const int64_t stride = args.batch * args.classes;
  T* grad = args.grad_log_probs + n * args.classes;
  for (int64_t t = 0; t < args.steps; ++t) {
    for (int64_t c = 0; c < args.classes; ++c) grad[t * stride + c] = T{0};
  }
  const double* offsets = args.offsets + n * (args.steps + 1);
  const double loss = offsets[args.steps];
  if (loss == -minus_infinity<double>() && args.zero_infinity) return;
  scratch.set_labels(args.targets + args.target_offsets[n], length, args.blank);
  const T* log_probs = args.log_probs + n * args.classes;
  const T g = args.grad_loss[n];
  T most = T{0};
  double offset = 0;
  for (int64_t t = steps - 1; t >= 0; --t) {
    T* here = scratch.rows[t % 2];
    scratch.set_emissions(log_probs + t * stride, states);
    if (t == steps - 1) {
      for (int64_t s = 0; s < states + kCtcPadding; ++s) here[s] = minus_infinity<T>();
      for (int64_t s = states - 1; s >= 0 && s >= states - 2; --s) here[s] = scratch.emission[s];
      most = here[states - 1];
      if (length > 0 && here[states - 2] > most) most = here[states - 2];
    } else {
      const T shift = finite_or_zero(most);
      for (int64_t s = states; s < states + kCtcPadding; ++s) here[s] = minus_infinity<T>();
      most = ctc_step<T, 1>(states, scratch.rows[(t + 1) % 2], here, scratch.emission, scratch.skip,
                            shift);
      offset += static_cast<double>(shift);
    }
    const T* alpha = args.alpha + (n * args.steps + t) * row_size + kCtcPadding;
    const Vec<T> constant(static_cast<T>(offsets[t] + offset + loss));
    // The emissions make room for what is subtracted.
    for_each_vector<T>(0, states, [&](int64_t s, auto count) {
      const Vec<T> emission = load_part(scratch.emission + s, count);
      const Vec<T> joint = load_part(alpha + s, count) + load_part(here + s, count);
      const Vec<T> possible = joint - emission + constant;
      // An impossible emission is subtracted from an impossible state.
      const Vec<T> lowest(minus_infinity<T>());
      const Vec<T> log_probability = select(joint == lowest, joint + constant, possible);
      store_part(scratch.emission + s, count, Vec<T>(g) * exp(log_probability));
    });
    for (int64_t s = 0; s < states; ++s) {
      grad[t * stride + scratch.label[s]] -= scratch.emission[s];
    }
  }
}

}  // namespace

template <class T>
void ctc_loss_forward(const CtcLossForwardArgs<T>& args) {
  const int64_t grain = sample_grain(args.steps, args.max_target);
  const int workers = plan_workers((args.batch + grain - 1) / grain);
  const int64_t bytes = CtcScratch<T>::bytes(args.max_target);
  Workspace workspace(workers * bytes);
  char* base = workspace.take<char>(workers * bytes);
  parallel_for(args.batch, grain, [&](int64_t begin, int64_t end, int worker) {
    const CtcScratch<T> scratch(base + worker * bytes, args.max_target);
    for (int64_t n = begin; n < end; ++n) {
      const double loss = forward_sample(args, scratch, n);
      if (args.offsets) args.offsets[n * (args.steps + 1) + args.steps] = loss;
      args.loss[n] = static_cast<T>(loss);
    }
  });
}

template <class T>
void ctc_loss_backward(const CtcLossBackwardArgs<T>& args) {
  const int64_t grain = sample_grain(args.steps, args.max_target);
  const int workers = plan_workers((args.batch + grain - 1) / grain);
  const int64_t bytes = CtcScratch<T>::bytes(args.max_target);
  Workspace workspace(workers * bytes);
  char* base = workspace.take<char>(workers * bytes);
  parallel_for(args.batch, grain, [&](int64_t begin, int64_t end, int worker) {
    const CtcScratch<T> scratch(base + worker * bytes, args.max_target);
    for (int64_t n = begin; n < end; ++n) backward_sample(args, scratch, n);
  });
}

template void ctc_loss_forward(const CtcLossForwardArgs<float>&);
template void ctc_loss_forward(const CtcLossForwardArgs<double>&);
template void ctc_loss_backward(const CtcLossBackwardArgs<float>&);
template void ctc_loss_backward(const CtcLossBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
