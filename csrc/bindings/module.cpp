// The extension module: set-up, configuration, and one init function a family.
#include <atomic>
#include <string>

#include <pybind11/stl.h>

#include "bindings/common.h"
#include "bindings/fastcall.h"
#include "bindings/packed_matrix.h"
#include "ops/gemm.h"
#include "runtime/cache.h"
#include "runtime/extensions.h"
#include "runtime/parallel.h"

namespace fastnn {

void init_attention(py::module_&);
void init_autograd(py::module_&);
void init_conv(py::module_&);
void init_dropout(py::module_&);
void init_elementwise(py::module_&);
void init_embedding(py::module_&);
void init_gemm(py::module_&);
void init_gemm_int8(py::module_&);
void init_loss(py::module_&);
void init_machine(py::module_&);
void init_module_base(py::module_&);
void init_norm(py::module_&);
void init_optim(py::module_&);
void init_pool(py::module_&);
void init_resize(py::module_&);
void init_rnn(py::module_&);
void init_softmax(py::module_&);

namespace {

void set_threads(py::handle count) {
  const Check check("set_num_threads");
  if (!py::isinstance<py::int_>(count) || py::isinstance<py::bool_>(count)) {
    check.type_error("count must be an int, got " + kind_of(count));
  }
  const long long value = PyLong_AsLongLong(count.ptr());
  if (PyErr_Occurred() != nullptr || value < 1 || value > 4096) {
    PyErr_Clear();
    check.value_error("count must be in 1..4096, got " + std::string(py::str(count)));
  }
  set_num_threads(static_cast<int>(value));
}

std::string compiler() {
#if defined(__clang__)
  return std::string("clang ") + __clang_version__;
#else
  return std::string("gcc ") + __VERSION__;
#endif
}

}  // namespace

py::object active_isa_name() {
  struct Name {
    const GemmKernels* table;
    PyObject* text;
  };
  static std::atomic<const Name*> known{nullptr};
  const Name* name = known.load(std::memory_order_acquire);
  if (name == nullptr || name->table != &gemm_kernels()) {
    name = new Name{&gemm_kernels(), PyUnicode_InternFromString(active_isa().c_str())};
    known.store(name, std::memory_order_release);  // one for each switch, never freed
  }
  return py::reinterpret_borrow<py::object>(name->text);
}

}  // namespace fastnn

PYBIND11_MODULE(_core, m, fastnn::py::mod_gil_not_used()) {
  using namespace fastnn;
  try {
    initialise_dispatch();
    initialise_threads();
  } catch (const std::runtime_error& error) {
    throw py::import_error(error.what());
  }
  initialise_output_memory();
  m.doc() = "fastnn's native kernels; the public interface is fastnn.functional.";
  m.def("kernel_names", &kernel_names, "(family, kernel) of every slot of the dispatch table");
  define<&active_isa_name>(m, "active_isa", {});
  m.def("available_isas", &available_isas, "Instruction sets this machine can run, best last");
  m.def("use_isa", &use_isa, py::arg("name"), "Switches the kernels (for tests)");
  m.def("use_extensions", &use_extensions, py::arg("enabled"),
        "Whether kernels use what only some machines of an instruction set have (for tests)");
  m.def(
      "extensions",
      [] {
        std::vector<std::string> names;
        if (active_isa() != "avx512") return names;
        if (extensions().int8_dot) names.emplace_back("AVX512_VNNI");
        if (extensions().bfloat16_dot) names.emplace_back("AVX512_BF16");
        return names;
      },
      "Instructions beyond the instruction set that the kernels use");
  m.def("get_num_threads", &num_threads);
  m.def("set_num_threads", &set_threads, py::arg("count"));
  m.def("wait_for_every_worker", &wait_for_every_worker, py::arg("wait"),
        "For tests: whether a parallel region waits for all of its threads to come");
  m.def("compiler", &compiler);
  m.def(
      "cache_sizes",
      [] {
        const CacheSizes& sizes = cache_sizes();
        return py::make_tuple(sizes.l1, sizes.l2, sizes.l3);
      },
      "(L1, L2, L3) data cache sizes in bytes");
  init_attention(m);
  init_autograd(m);
  init_conv(m);
  init_dropout(m);
  init_elementwise(m);
  init_embedding(m);
  init_gemm(m);
  init_gemm_int8(m);
  init_loss(m);
  init_machine(m);
  init_module_base(m);
  init_norm(m);
  init_optim(m);
  init_pool(m);
  init_resize(m);
  init_rnn(m);
  init_softmax(m);
}
