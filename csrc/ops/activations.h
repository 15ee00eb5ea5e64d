// The activations: ACTIVATION(context, name, first parameter, second parameter, functor).
// A line gives an activation its two kernels, name_forward and name_backward, and their bindings.
// The functor is in kernels/elementwise/activations.h and says what the gradient is taken at;
// p.first and p.second are the parameters, named as the arguments in Python. `context` is handed
// through.
#pragma once

#define FASTNN_ACTIVATIONS(ACTIVATION, context)                                                \
  ACTIVATION(context, relu, "", "", Relu{})                                                    \
  ACTIVATION(context, relu6, "", "", Hardtanh{0, 6})                                           \
  ACTIVATION(context, leaky_relu, "negative_slope", "", LeakyRelu{p.first})                    \
  ACTIVATION(context, threshold, "threshold", "value", Threshold{p.first, p.second})           \
  ACTIVATION(context, hardtanh, "min_val", "max_val", Hardtanh{p.first, p.second})             \
  ACTIVATION(context, hardsigmoid, "", "", Hardsigmoid{})                                      \
  ACTIVATION(context, hardswish, "", "", Hardswish{})                                          \
  ACTIVATION(context, hardshrink, "lambd", "", Hardshrink{p.first})                            \
  ACTIVATION(context, softshrink, "lambd", "", Softshrink{p.first})                            \
  ACTIVATION(context, softsign, "", "", Softsign{})                                            \
  ACTIVATION(context, sigmoid, "", "", Sigmoid{})                                              \
  ACTIVATION(context, logsigmoid, "", "", LogSigmoid{})                                        \
  ACTIVATION(context, tanh, "", "", Tanh{})                                                    \
  ACTIVATION(context, tanhshrink, "", "", Tanhshrink{})                                        \
  ACTIVATION(context, elu, "alpha", "", Elu{p.first})                                          \
  ACTIVATION(context, celu, "alpha", "", Celu{p.first, 1 / p.first})                           \
  ACTIVATION(context, selu, "", "", Selu{})                                                    \
  ACTIVATION(context, softplus, "beta", "threshold", Softplus{p.first, 1 / p.first, p.second}) \
  ACTIVATION(context, silu, "", "", Silu{})                                                    \
  ACTIVATION(context, mish, "", "", Mish{})                                                    \
  ACTIVATION(context, gelu, "", "", Gelu{})                                                    \
  ACTIVATION(context, gelu_tanh, "", "", GeluTanh{})                                           \
  ACTIVATION(context, exp, "", "", Exp{})                                                      \
  ACTIVATION(context, log, "", "", Log{})                                                      \
  ACTIVATION(context, sqrt, "", "", Sqrt{})

namespace fastnn {

// An activation's parameters, in the order of its Python arguments.
struct ActivationParameters {
  double first, second;
};

#define FASTNN_ACTIVATION_KIND(_, name, ...) name,
enum class ActivationKind { none, FASTNN_ACTIVATIONS(FASTNN_ACTIVATION_KIND, ) };
#undef FASTNN_ACTIVATION_KIND

// One activation, for kernels that fuse it.
struct FusedActivation {
  ActivationKind kind;
  ActivationParameters p;
};

}  // namespace fastnn
