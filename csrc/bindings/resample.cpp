#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "bindings/common.h"
#include "ops/resize.h"

namespace fastnn {
namespace {

// How one axis is resampled. `scale` is input elements an output element.
struct Resampling {
  double scale;
  bool cubic, align_corners, antialias;
};

// Keys' cubic kernel.
double cubic_weight(double distance, double a) {
  const double d = std::abs(distance);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

double linear_weight(double distance) { return std::max(0.0, 1 - std::abs(distance)); }

// The weights of every output of an axis: output o has counts[o] inputs from first[o] on.
struct WeightTable {
  int64_t taps = 1;
  std::vector<int64_t> first, counts;
  std::vector<double> weights;

  // What lies outside counts for the edge.
  static WeightTable interpolating(int64_t in, int64_t out, const Resampling& r) {
    WeightTable table(out, std::min<int64_t>(in, 4));
    for (int64_t o = 0; o < out; ++o) {
      const auto at = static_cast<double>(o);
      const double x = r.align_corners ? at * r.scale : (at + 0.5) * r.scale - 0.5;
      const double floor = std::floor(x);
      const auto inside = [&](double i) {
        return static_cast<int64_t>(std::clamp(i, 0.0, static_cast<double>(in - 1)));
      };
      const int64_t begin = inside(floor - 1);
      table.set(o, begin, inside(floor + 2) + 1 - begin);
      for (int k = -1; k <= 2; ++k) {
        table.row(o)[inside(floor + k) - begin] += cubic_weight(x - floor - k, -0.75);
      }
    }
    return table;
  }

  // A kernel as wide as the outputs are apart, cut off at the edges and normalised.
  static WeightTable antialiased(int64_t in, int64_t out, const Resampling& r) {
    const double stretch = std::max(r.scale, 1.0), support = (r.cubic ? 2 : 1) * stretch;
    WeightTable table(out, std::min(in, static_cast<int64_t>(std::ceil(support)) * 2 + 1));
    for (int64_t o = 0; o < out; ++o) {
      const double center = r.scale * (static_cast<double>(o) + 0.5);
      const auto bound = [&](double i) {
        return static_cast<int64_t>(std::clamp(i, 0.0, static_cast<double>(in)));
      };
      const int64_t begin = std::min(bound(center - support + 0.5), in - 1);
      const int64_t end = std::max(bound(center + support + 0.5), begin + 1);
      table.set(o, begin, end - begin);
      double* row = table.row(o);
      double sum = 0;
      for (int64_t k = 0; k < end - begin; ++k) {
        const double distance = (static_cast<double>(begin + k) - center + 0.5) / stretch;
        row[k] = r.cubic ? cubic_weight(distance, -0.5) : linear_weight(distance);
        sum += row[k];
      }
      for (int64_t k = 0; k < end - begin && sum != 0; ++k) row[k] /= sum;
    }
    return table;
  }

  static WeightTable make(int64_t in, int64_t out, const Resampling& r) {
    return r.antialias ? antialiased(in, out, r) : interpolating(in, out, r);
  }

  // The table of the gradient: for each input the outputs that it is part of.
  WeightTable transposed(int64_t in) const {
    const auto out = static_cast<int64_t>(first.size());
    std::vector<int64_t> begin(static_cast<size_t>(in), out), end(static_cast<size_t>(in), 0);
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t i = first[at(o)]; i < first[at(o)] + counts[at(o)]; ++i) {
        begin[at(i)] = std::min(begin[at(i)], o);
        end[at(i)] = o + 1;
      }
    }
    int64_t most = 1;
    for (int64_t i = 0; i < in; ++i) most = std::max(most, end[at(i)] - begin[at(i)]);
    WeightTable table(in, most);
    for (int64_t i = 0; i < in; ++i) {
      const int64_t from = std::min(begin[at(i)], out - 1);
      table.set(i, from, std::max<int64_t>(0, end[at(i)] - from));
      for (int64_t o = from; o < end[at(i)]; ++o) {
        const int64_t k = i - first[at(o)];
        if (k >= 0 && k < counts[at(o)]) table.row(i)[o - from] = weights[at(o * taps + k)];
      }
    }
    return table;
  }

 private:
  WeightTable(int64_t out, int64_t most)
      : taps(most), first(at(out)), counts(at(out)), weights(at(out * most)) {}
  static size_t at(int64_t i) { return static_cast<size_t>(i); }
  void set(int64_t o, int64_t begin, int64_t count) {
    first[at(o)] = begin;
    counts[at(o)] = count;
  }
  double* row(int64_t o) { return weights.data() + o * taps; }
};

// One axis of an array; the other way round for the gradient.
py::object resample(py::handle input, int64_t axis, int64_t size, const Resampling& how,
                    bool backward, py::handle out) {
  const Check check("interpolate");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.min_rank("input", x, 3);
    Shape shape = shape_of(x);
    if (axis < 0 || axis >= x.ndim()) check.value_error("axis out of range");
    check.at_least("size", size, 1);
    const int64_t in = shape[static_cast<size_t>(axis)];
    if (in < 1) {
      check.value_error("input must not be empty in its spatial dimensions, got shape " +
                        to_string(shape));
    }
    const Split split = split_at(x, axis);
    shape[static_cast<size_t>(axis)] = size;
    check.size("output", shape, sizeof(T));
    auto y = check.output<T>(shape, out, {input});
    if (y.size() == 0) return std::move(y);
    const WeightTable table = backward ? WeightTable::make(size, in, how).transposed(size)
                                       : WeightTable::make(in, size, how);
    const std::vector<T> weights(table.weights.begin(), table.weights.end());
    run(resize_kernels().resample_forward,
        ResampleArgs<T>{split.outer, in, size, split.inner, table.taps, table.first.data(),
                        table.counts.data(), weights.data(), x.data(), y.mutable_data()});
    return std::move(y);
  });
}

}  // namespace

void init_resample(py::module_& m) {
  m.def(
      "resample_forward",
      [](py::handle input, int64_t axis, int64_t size, double scale, bool cubic, bool align_corners,
         bool antialias, py::handle out) {
        return resample(input, axis, size, {scale, cubic, align_corners, antialias}, false, out);
      },
      py::arg("input"), py::arg("axis"), py::arg("size"), py::arg("scale"), py::arg("cubic"),
      py::arg("align_corners"), py::arg("antialias"), py::arg("out") = py::none());
  m.def(
      "resample_backward",
      [](py::handle grad_output, int64_t axis, int64_t size, double scale, bool cubic,
         bool align_corners, bool antialias) {
        return resample(grad_output, axis, size, {scale, cubic, align_corners, antialias}, true,
                        py::none());
      },
      py::arg("grad_output"), py::arg("axis"), py::arg("size"), py::arg("scale"), py::arg("cubic"),
      py::arg("align_corners"), py::arg("antialias"),
      "The gradient of an input with `size` elements along the axis.");
}

}  // namespace fastnn
