#include "ops/dropout.h"

#include <algorithm>
#include <cmath>

#include "bindings/common.h"

namespace fastnn {
namespace {

struct DropoutOptions {
  uint64_t seed, stream;
  double p, scale, shift, dropped;
};

// The first `axes` axes have a mask of their own each; the others share theirs.
py::object dropout_forward(const char* op, py::handle input, int64_t axes,
                           const DropoutOptions& options, py::handle out, bool inplace) {
  const Check check(op);
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    if (inplace) check.in_place("input", input, out);
    auto x = check.contiguous<T>("input", input);
    auto y = inplace ? x : check.output<T>(shape_of(x), out, {input});
    DropoutArgs<T> args{};
    args.rows = args.inner = 1;
    for (int64_t i = 0; i < x.ndim(); ++i) (i < axes ? args.rows : args.inner) *= extent(x, i);
    if (x.size() == 0) args.rows = 0;  // there may be 2^40 rows of nothing
    args.x = x.data();
    args.y = y.mutable_data();
    args.seed = options.seed;
    args.stream = options.stream;
    args.threshold = static_cast<uint64_t>(std::llround(std::ldexp(options.p, 32)));
    // Only p = 1 keeps nothing.
    if (options.p < 1) args.threshold = std::min<uint64_t>(args.threshold, 0xffffffff);
    args.scale = options.scale;
    args.shift = options.shift;
    args.dropped = options.dropped;
    run(dropout_kernels().dropout_forward, args);
    if (!inplace) return std::move(y);
    if (!x.is(input)) input.attr("__setitem__")(py::ellipsis(), x);
    return py::reinterpret_borrow<py::object>(input);
  });
}

py::object philox_words(int64_t n, uint64_t seed, uint64_t stream, uint64_t first_group) {
  const Check check("philox_words");
  check.at_least("n", n, 0);
  check.size("words", {n}, sizeof(uint32_t));
  py::array_t<uint32_t> words(static_cast<py::ssize_t>(n));
  run(dropout_kernels().philox_words,
      PhiloxWordsArgs<float>{n, seed, stream, first_group, words.mutable_data()});
  return std::move(words);
}

}  // namespace

void init_dropout(py::module_& m) {
  m.def(
      "dropout_forward",
      [](const char* op, py::handle input, int64_t axes, uint64_t seed, uint64_t stream, double p,
         double scale, double shift, double dropped, py::handle out, bool inplace) {
        return dropout_forward(op, input, axes, {seed, stream, p, scale, shift, dropped}, out,
                               inplace);
      },
      py::arg("op"), py::arg("input"), py::arg("axes"), py::arg("seed"), py::arg("stream"),
      py::arg("p"), py::arg("scale"), py::arg("shift"), py::arg("dropped"),
      py::arg("out") = py::none(), py::arg("inplace") = false);
  m.def("philox_words", &philox_words, py::arg("n"), py::arg("seed"), py::arg("stream"),
        py::arg("first_group") = 0);
}

}  // namespace fastnn
