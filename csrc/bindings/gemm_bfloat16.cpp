#include "bindings/gemm_bfloat16.h"

#include "bindings/activation.h"
#include "bindings/matrix_stack.h"
#include "ops/gemm.h"

namespace fastnn {
namespace {

// An ndarray of bfloat16 or float32, any strides, copied only if misaligned.
py::array reduced(const Check& check, const char* name, py::handle object) {
  if (!is_bfloat16(object) && !py::isinstance<py::array_t<float>>(object)) {
    check.type_error(std::string(name) + " must be a numpy.ndarray of bfloat16 or float32 beside " +
                     "one of bfloat16, got " + kind_of(object));
  }
  auto a = py::reinterpret_borrow<py::array>(object);
  return has_whole_strides(a) ? a : py::array(a.attr("copy")());
}

ReducedArray contents(const py::array& a) { return {a.data(), !is_bfloat16(a)}; }

// A bias or residual as float32.
Array<float> addend(const Check& check, const char* name, py::handle object, const Shape& shape,
                    const char* meaning) {
  if (object.is_none()) return check.optional<float>(name, object);
  const py::array a = reduced(check, name, object);
  check.shape(name, a, shape, meaning);
  return check.contiguous<float>(name, a.attr("astype")("float32", py::arg("copy") = false));
}

// A new array, or `out`: float32 if one of the operands is, else bfloat16.
py::array output(const Check& check, const Shape& shape, py::handle out, const py::array& a,
                 py::handle b, std::initializer_list<py::handle> inputs) {
  if (!is_bfloat16(a)) return check.output<float>(shape, out, inputs);
  if (py::isinstance<py::array_t<float>>(b)) return check.output<float>(shape, out, inputs);
  check.size("output", shape, 2);
  if (out.is_none()) {
    return py::array(a.dtype(), std::vector<py::ssize_t>(shape.begin(), shape.end()));
  }
  if (!is_bfloat16(out)) check.type_error("out must be a numpy.ndarray of bfloat16");
  auto y = py::reinterpret_borrow<py::array>(out);
  check.destination(y, shape, inputs);
  return y;
}

}  // namespace

py::object matmul_bfloat16(py::handle input, py::handle other, py::handle bias, py::handle out) {
  const Check check("matmul");
  const auto a = matrix_stack(check, "input", reduced(check, "input", input));
  const auto b = matrix_stack(check, "other", reduced(check, "other", other));
  check.dim("other", b.array, b.array.ndim() - 2, a.cols, "input.shape[-1]");
  const auto bias_array = addend(check, "bias", bias, {b.cols}, "other.shape[-1]");
  const Shape batch = broadcast_batch(check, a.batch_shape, b.batch_shape);
  const int64_t count = check.size("batch", batch, 1);
  Shape shape = batch;
  shape.insert(shape.end(), {a.rows, b.cols});
  py::array c = output(check, shape, out, a.array, b.array, {input, other, bias});
  if (c.size() == 0) return std::move(c);  // a batch of empty products may be of any length
  const auto a_offsets = batch_offsets(a, batch, count);
  const auto b_offsets = batch_offsets(b, batch, count);
  run(gemm_kernels().matmul_bfloat16, MatmulBfloat16Args<float>{count,
                                                                a.rows,
                                                                b.cols,
                                                                a.cols,
                                                                contents(a.array),
                                                                a_offsets.data(),
                                                                a.row_stride,
                                                                a.col_stride,
                                                                contents(b.array),
                                                                b_offsets.data(),
                                                                b.row_stride,
                                                                b.col_stride,
                                                                nullptr,
                                                                data_or_null(bias_array),
                                                                1,
                                                                nullptr,
                                                                {},
                                                                c.mutable_data(),
                                                                !is_bfloat16(c)});
  return std::move(c);
}

py::object linear_bfloat16(py::handle input, py::handle weight, py::handle bias, py::handle out,
                           py::handle scale, py::handle residual, py::handle activation) {
  const Check check("linear");
  py::array x = reduced(check, "input", input);
  check.min_rank("input", x, 1);
  const int64_t in_features = extent(x, x.ndim() - 1), offset = 0;
  if (x.ndim() != 2) x = py::array(x.attr("reshape")(-1, in_features));  // one matrix of rows
  MatmulBfloat16Args<float> args{};
  bool vector = false;
  py::object kept = py::none();  // a weight that is not packed
  if (py::isinstance<PackedMatrix>(weight)) {
    const auto& packed = py::cast<const PackedMatrix&>(weight);
    require_active(check, "weight", packed.table, &gemm_kernels());
    if (!packed.is_bfloat16) check.type_error("weight must be of bfloat16 like input");
    args.n = packed.out_features;
    args.packed_b = static_cast<const int32_t*>(py::cast<py::array>(packed.data).data());
    args.k = packed.in_features;
  } else {
    const py::array w = reduced(check, "weight", weight);
    vector = w.ndim() == 1;
    if (!vector) check.rank("weight", w, 2);
    args.n = vector ? 1 : extent(w, 0);
    args.k = extent(w, w.ndim() - 1);
    args.b = contents(w);
    args.b_row_stride = element_stride(w, w.ndim() - 1);
    args.b_col_stride = vector ? 0 : element_stride(w, 0);
    kept = w;
  }
  const auto given = py::reinterpret_borrow<py::array>(input);
  check.dim("input", given, given.ndim() - 1, args.k, "weight.shape[-1]");
  const auto b = addend(check, "bias", bias, vector ? Shape{} : Shape{args.n}, "weight.shape[0]");
  Shape shape = shape_of(given);
  shape.pop_back();
  if (!vector) shape.push_back(args.n);
  const auto r = addend(check, "residual", residual, shape, "the output's shape");
  py::array y = output(check, shape, out, x, kept, {input, kept, bias, residual});
  args.batch = 1;
  args.m = extent(x, 0);
  args.a = contents(x);
  args.a_offsets = args.b_offsets = &offset;
  args.a_row_stride = element_stride(x, 0);
  args.a_col_stride = element_stride(x, 1);
  args.bias = data_or_null(b);
  args.scale = scale.is_none() ? 1.0f : static_cast<float>(check.number("scale", scale));
  args.residual = data_or_null(r);
  args.activation = read_activation(check, activation);
  args.c = y.mutable_data();
  args.c_is_float = !is_bfloat16(y);
  run(gemm_kernels().matmul_bfloat16, args);
  return std::move(y);
}

PackedMatrix pack_bfloat16(py::handle weight) {
  const Check check("pack_linear");
  const py::array w = reduced(check, "weight", weight);
  check.rank("weight", w, 2);
  int64_t elements = 0;
  PackBfloat16Args<float> args{
      extent(w, 0),         extent(w, 1), contents(w), element_stride(w, 1),
      element_stride(w, 0), nullptr,      &elements};
  const GemmKernels& table = gemm_kernels();
  run(table.pack_bfloat16, args);
  auto packed = aligned_array<int32_t>(elements);
  args.packed = packed.mutable_data();
  run(table.pack_bfloat16, args);
  return {packed, args.n, args.k, &table, true};
}

}  // namespace fastnn
