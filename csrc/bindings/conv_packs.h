// Prepared forms of one weight array, which its Parameter keeps while the array does not change.
#pragma once

#include <mutex>
#include <vector>

#include "bindings/common.h"
#include "ops/conv.h"

namespace fastnn {

// Filled by the calls that need a form: at most one entry for each way the weights are used.
class ConvPacks {
 public:
  // The form that the convolution of geometry g, or its transpose, works with: prepared now unless
  // it was before. An empty array where the weights are used as they are. Calls the kernel without
  // the GIL.
  template <class T>
  Array<T> get(const Check& check, const ConvGeometry& g, bool transposed, const Array<T>& w);

 private:
  struct Key {
    const ConvKernels* table;
    int64_t form, groups;
    bool transposed;
    int64_t stride[3], padding[3], dilation[3];  // of a transpose: its phases follow from them
    bool operator==(const Key& other) const;
  };
  struct Entry {
    Key key;
    py::array data;
  };

  py::array find(const Key& key);
  py::array keep(const Key& key, const py::array& data);

  std::mutex mutex_;  // for Python without a GIL
  std::vector<Entry> entries_;
};

}  // namespace fastnn
