#include "ops/gemm.h"

#include <array>

#include "bindings/activation.h"
#include "bindings/autograd.h"
#include "bindings/fastcall.h"
#include "bindings/gemm_bfloat16.h"
#include "bindings/matrix_stack.h"
#include "bindings/packed_matrix.h"

namespace fastnn {
namespace {

// A product of some microseconds keeps the GIL: to give it up and take it back would be a tenth.
template <class T>
void run_product(const MatmulForwardArgs<T>& args) {
  constexpr double kShort = 1 << 18;  // multiply-adds
  const auto [batch, m, n, k] = std::array{args.batch, args.m, args.n, args.k};
  const double work = static_cast<double>(batch) * static_cast<double>(m) * static_cast<double>(n) *
                      static_cast<double>(k);
  if (work > kShort) return run(gemm_kernels().matmul_forward, args);
  const FixedThreads fixed;
  gemm_kernels().matmul_forward(args);
}

py::object matmul_forward(py::handle input, py::handle other, py::handle bias, py::handle out) {
  if (is_bfloat16(input)) return matmul_bfloat16(input, other, bias, out);
  const Check check("matmul");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    if (is_bfloat16(other)) return matmul_bfloat16(input, other, bias, out);
    const auto x = check.strided<T>("input", input), y = check.strided<T>("other", other);
    const auto a = matrix_stack(check, "input", x), b = matrix_stack(check, "other", y);
    check.dim("other", b.array, b.array.ndim() - 2, a.cols, "input.shape[-1]");
    const auto bias_array = check.optional<T>("bias", bias);
    if (bias_array) check.shape("bias", bias_array, {b.cols}, "other.shape[-1]");
    const Shape shape = broadcast_batch(check, a.batch_shape, b.batch_shape);
    const int64_t count = check.size("batch", shape, 1);
    Shape output_shape = shape;
    output_shape.insert(output_shape.end(), {a.rows, b.cols});
    auto c = check.output<T>(output_shape, out, {input, other, bias});
    if (c.size() == 0) return std::move(c);  // a batch of empty products may be of any length
    const auto a_offsets = batch_offsets(a, shape, count);
    const auto b_offsets = batch_offsets(b, shape, count);
    run_product(MatmulForwardArgs<T>{count, a.rows, b.cols, a.cols, x.data(), a_offsets.data(),
                                     a.row_stride, a.col_stride, y.data(), b_offsets.data(),
                                     b.row_stride, b.col_stride, nullptr, data_or_null(bias_array),
                                     c.mutable_data()});
    return std::move(c);
  });
}

// The ends of the groups that the dimension of so many elements is cut into.
Array<int64_t> group_ends(const Check& check, py::handle offs, int64_t size) {
  const auto ends = check.indices("offs", offs);
  check.rank("offs", ends, 1);
  int64_t before = 0;
  for (int64_t g = 0; g < extent(ends, 0); ++g) {
    const int64_t end = ends.data()[g];
    if (end < before || end > size) {
      check.value_error("offs must rise from 0 to at most " + std::to_string(size) + ", got " +
                        std::to_string(end) + " after " + std::to_string(before));
    }
    before = end;
  }
  return ends;
}

// mat_a and mat_b are a matrix, cut up by `offs`, or a stack of a matrix a group.
py::object grouped_mm_forward(py::handle mat_a, py::handle mat_b, py::handle offs, py::handle bias,
                              py::handle out) {
  const Check check("grouped_mm");
  return check.dispatch("mat_a", mat_a, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto a = check.strided<T>("mat_a", mat_a), b = check.strided<T>("mat_b", mat_b);
    const bool stack_a = a.ndim() == 3, stack_b = b.ndim() == 3;
    if (!stack_a) check.rank("mat_a", a, 2);
    if (!stack_b) check.rank("mat_b", b, 2);
    const int64_t m = extent(a, a.ndim() - 2), k = extent(a, a.ndim() - 1);
    const int64_t n = extent(b, b.ndim() - 1);
    check.dim("mat_b", b, b.ndim() - 2, k, "mat_a.shape[-1]");
    GroupedMmForwardArgs<T> args{};
    args.divided = stack_a && stack_b ? GroupedDimension::none
                   : stack_b          ? GroupedDimension::m
                   : stack_a          ? GroupedDimension::n
                                      : GroupedDimension::k;
    const bool cut = args.divided != GroupedDimension::none;
    if (cut == offs.is_none()) {
      check.value_error(cut ? "offs must be given for a two-dimensional operand, got None"
                            : "offs must be None for two three-dimensional operands");
    }
    Array<int64_t> ends;
    if (cut) ends = group_ends(check, offs, stack_b ? m : stack_a ? n : k);
    args.groups = cut ? extent(ends, 0) : extent(a, 0);
    args.ends = cut ? ends.data() : nullptr;
    if (stack_a && cut) check.dim("mat_a", a, 0, args.groups, "offs.shape[0]");
    if (stack_b) check.dim("mat_b", b, 0, args.groups, cut ? "offs.shape[0]" : "mat_a.shape[0]");
    const auto bias_array = check.optional<T>("bias", bias);
    if (bias_array && bias_array.ndim() == 2 && args.divided != GroupedDimension::n) {
      check.shape("bias", bias_array, {args.groups, n}, "groups, mat_b.shape[-1]");
      args.bias_group_stride = n;
    } else if (bias_array) {
      check.shape("bias", bias_array, {n}, "mat_b.shape[-1]");
    }
    args.bias = data_or_null(bias_array);
    args.m = m;
    args.n = n;
    args.k = k;
    args.a = a.data();
    args.a_group_stride = stack_a ? element_stride(a, 0) : 0;
    args.a_row_stride = element_stride(a, a.ndim() - 2);
    args.a_col_stride = element_stride(a, a.ndim() - 1);
    args.b = b.data();
    args.b_group_stride = stack_b ? element_stride(b, 0) : 0;
    args.b_row_stride = element_stride(b, b.ndim() - 2);
    args.b_col_stride = element_stride(b, b.ndim() - 1);
    const Shape shape = stack_a == stack_b ? Shape{args.groups, m, n} : Shape{m, n};
    auto c = check.output<T>(shape, out, {mat_a, mat_b, bias});
    args.c = c.mutable_data();
    if (c.size() != 0) run(gemm_kernels().grouped_mm_forward, args);
    return std::move(c);
  });
}

PackedMatrix pack_linear(py::handle weight) {
  if (is_bfloat16(weight)) return pack_bfloat16(weight);
  const Check check("pack_linear");
  return check.dispatch("weight", weight, [&](auto zero) -> PackedMatrix {
    using T = decltype(zero);
    const auto w = check.strided<T>("weight", weight);
    check.rank("weight", w, 2);
    int64_t elements = 0;
    PackMatrixArgs<T> args{extent(w, 0),         extent(w, 1), w.data(), element_stride(w, 1),
                           element_stride(w, 0), nullptr,      &elements};
    const GemmKernels& table = gemm_kernels();
    run(table.pack_matrix, args);
    auto packed = aligned_array<T>(elements);
    args.packed = packed.mutable_data();
    run(table.pack_matrix, args);
    return {packed, args.n, args.k, &table, false};
  });
}

// input (..., in) times weight (out, in) transposed: one product of all rows of input. `weight` is
// an array or a PackedMatrix.
py::object linear_forward(py::handle input, py::handle weight, py::handle bias, py::handle out,
                          py::handle scale, py::handle residual, py::handle activation) {
  if (is_bfloat16(input)) {
    return linear_bfloat16(input, weight, bias, out, scale, residual, activation);
  }
  const Check check("linear");
  return check.dispatch("input", input, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const auto x = check.contiguous<T>("input", input);
    check.min_rank("input", x, 1);
    const int64_t in_features = extent(x, x.ndim() - 1);
    const int64_t offset = 0;
    MatmulForwardArgs<T> args{1,       0,       1, in_features, x.data(), &offset, in_features, 1,
                              nullptr, &offset, 0, 0,           nullptr,  nullptr, nullptr};
    bool vector = false;
    py::object kept;  // keeps a converted weight alive
    if (const PackedMatrix* const pack = as_pack<PackedMatrix>(weight); pack != nullptr) {
      const PackedMatrix& packed = *pack;
      if (packed.is_bfloat16) {
        return linear_bfloat16(input, weight, bias, out, scale, residual, activation);
      }
      require_active(check, "weight", packed.table, &gemm_kernels());
      if (packed.in_features != in_features) {
        check.dim("input", x, x.ndim() - 1, packed.in_features, "weight.shape[1]");
      }
      args.n = packed.out_features;
      args.packed_b = check.contiguous<T>("weight", packed.data).data();
    } else if (is_bfloat16(weight)) {
      return linear_bfloat16(input, weight, bias, out, scale, residual, activation);
    } else {
      const auto w = check.strided<T>("weight", weight);
      vector = w.ndim() == 1;
      if (!vector) check.rank("weight", w, 2);
      check.dim("weight", w, w.ndim() - 1, in_features, "input.shape[-1]");
      args.n = vector ? 1 : extent(w, 0);
      args.b = w.data();
      args.b_row_stride = element_stride(w, w.ndim() - 1);
      args.b_col_stride = vector ? 0 : element_stride(w, 0);
      kept = w;
    }
    const auto b = check.optional<T>("bias", bias);
    if (b) check.shape("bias", b, vector ? Shape{} : Shape{args.n}, "weight.shape[0]");
    args.bias = data_or_null(b);
    Shape shape = shape_of(x);
    shape.pop_back();
    args.m = check.size("input", shape, 1);
    if (!vector) shape.push_back(args.n);
    const auto r = check.optional<T>("residual", residual);
    if (r) check.shape("residual", r, shape, "the output's shape");
    args.residual = data_or_null(r);
    if (!scale.is_none()) args.scale = static_cast<T>(check.number("scale", scale));
    args.activation = read_activation(check, activation);
    auto y = check.output<T>(shape, out, {input, kept, bias, r});
    args.c = y.mutable_data();
    run_product(args);
    return std::move(y);
  });
}

// The packed form that a Parameter keeps of a linear layer's weight, made if there is none.
py::object kept_pack(py::handle weight) {
  static PyObject* const name = PyUnicode_InternFromString("_packs");
  const auto packs = py::reinterpret_steal<py::object>(PyObject_GetAttr(weight.ptr(), name));
  if (!packs) throw py::error_already_set();
  const py::object isa = active_isa_name();
  if (!packs.is_none()) {
    if (PyObject* const kept = PyObject_GetItem(packs.ptr(), isa.ptr()); kept != nullptr) {
      return py::reinterpret_steal<py::object>(kept);
    }
    PyErr_Clear();
  }
  return weight.attr("pack")(isa, py::cpp_function(&pack_linear));
}

// nn.Linear without recording: linear_forward of Parameters, the weight packed.
py::object linear_infer(py::handle input, py::handle weight, py::handle bias, py::handle activation,
                        py::handle residual) {
  const py::object packed = kept_pack(weight);
  const TensorObject* const b = as_tensor(bias);
  return linear_forward(input, packed, b == nullptr ? bias.ptr() : or_none(b->data), py::none(),
                        py::none(), residual, activation);
}

}  // namespace

void init_gemm(py::module_& m) {
  define<&matmul_forward>(m, "matmul_forward",
                          {{"input"}, {"other"}, {"bias", true}, {"out", true}});
  m.def("grouped_mm_forward", &grouped_mm_forward, py::arg("mat_a"), py::arg("mat_b"),
        py::arg("offs") = py::none(), py::arg("bias") = py::none(), py::arg("out") = py::none());
  py::class_<PackedMatrix>(m, "PackedMatrix", "A weight packed by pack_linear")
      .def_readonly("out_features", &PackedMatrix::out_features)
      .def_readonly("in_features", &PackedMatrix::in_features);
  m.def("pack_linear", &pack_linear, py::arg("weight"),
        "Packs a weight (out, in) for linear_forward, for the active instruction set");
  define<&linear_forward>(m, "linear_forward",
                          {{"input"},
                           {"weight"},
                           {"bias", true},
                           {"out", true},
                           {"scale", true},
                           {"residual", true},
                           {"activation", true}});
  define<&linear_infer>(
      m, "linear_infer",
      {{"input"}, {"weight"}, {"bias", true}, {"activation", true}, {"residual", true}});
}

}  // namespace fastnn
