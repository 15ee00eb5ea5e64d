// Sums and means over axes.
#include "bindings/fastcall.h"

#include "bindings/common.h"
#include "ops/elementwise.h"

namespace fastnn {

void init_axis_sum(py::module_& m);

namespace {

// Which axes of x `argument` names: None for all, an int or a tuple of them.
std::vector<bool> named_axes(const Check& check, py::handle argument, const py::array& x) {
  const auto rank = static_cast<int64_t>(x.ndim());
  std::vector<bool> named(static_cast<size_t>(rank), argument.is_none());
  const auto add = [&](py::handle axis) {
    const auto at = static_cast<size_t>(check.axis("axis", axis, rank));
    if (named[at]) check.value_error("axis must not hold a dimension twice");
    named[at] = true;
  };
  if (PyTuple_Check(argument.ptr())) {
    for (const py::handle axis : py::reinterpret_borrow<py::tuple>(argument)) add(axis);
  } else if (!argument.is_none()) {
    add(argument);
  }
  return named;
}

// The sum over axes [begin, end) / divisor.
template <class T>
void sum_run(const Array<T>& x, size_t begin, size_t end, double divisor, Array<T>& y) {
  AxisSumArgs<T> args{1, 1, 1, x.data(), divisor, nullptr};
  for (size_t i = 0; i < static_cast<size_t>(x.ndim()); ++i) {
    (i < begin ? args.outer
     : i < end ? args.length
               : args.inner) *= extent(x, static_cast<int64_t>(i));
  }
  args.y = y.mutable_data();
  run(elementwise_kernels().axis_sum, args);
}

// Runs of neighbouring axes one after the other, the last first: each leaves less to the next.
py::object axis_sum(py::handle input, py::handle axis, py::handle keepdims, py::handle mean,
                    py::handle out) {
  const Check check("sum");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    auto x = check.contiguous<T>("input", input);
    const std::vector<bool> summed = named_axes(check, axis, x);
    Shape shape = shape_of(x), result;
    double divisor = 1;
    for (size_t i = 0; i < summed.size(); ++i) {
      if (summed[i] && mean.ptr() == Py_True) divisor *= static_cast<double>(shape[i]);
      if (!summed[i] || keepdims.ptr() == Py_True) result.push_back(summed[i] ? 1 : shape[i]);
    }
    const auto end_of_run = [&](size_t end) {
      while (end > 0 && !summed[end - 1]) --end;
      return end;
    };
    size_t end = end_of_run(summed.size());
    do {  // once where nothing is summed: the result is never the input
      size_t begin = end;
      while (begin > 0 && summed[begin - 1]) shape[--begin] = 1;
      const size_t next = end_of_run(begin);
      auto y = next == 0 ? check.output<T>(result, out, {input}) : new_array<T>(shape);
      sum_run(x, begin, end, divisor, y);
      x = std::move(y);
      divisor = 1;
      end = next;
    } while (end > 0);
    return std::move(x);
  });
}

}  // namespace

void init_axis_sum(py::module_& m) {
  define<&axis_sum>(m, "axis_sum", {{"input"}, {"axis"}, {"keepdims"}, {"mean"}, {"out", true}});
}

}  // namespace fastnn
