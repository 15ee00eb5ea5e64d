// Max pooling. Values alone go down the rows of a window, then across (slide.h): NaN is passed on,
// and the order of equals does not show. With taps or indices every window is searched in
// row-major order, many windows at a time (tap_search.h); windows too large for that one by one.
#include "kernels/pool/search.h"
#include "kernels/pool/slide.h"
#include "kernels/pool/tap_search.h"
#include "kernels/pool/tiles.h"

namespace fastnn::FASTNN_ISA {

using namespace pool;

namespace {

struct Identity : SameEverywhere {
  static FASTNN_INLINE Identity row(int64_t, int64_t, int64_t) { return {}; }
  static Identity plane(void*) { return {}; }
  template <class T>
  FASTNN_INLINE Vec<T> operator()(Vec<T> folded, int64_t) const {
    return folded;
  }
  template <class T>
  FASTNN_INLINE T operator()(T folded, const Place&) const {
    return folded;
  }
};

}  // namespace

template <class T>
void max_pool3d_forward(const MaxPoolForwardArgs<T>& original) {
  MaxPoolForwardArgs<T> args = original;
  const bool values_only = args.indices == nullptr && args.taps == nullptr;
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  if (!values_only) {
    if (!slides(depth, height, width) || (args.indices != nullptr && !countable(args))) {
      return search_windows(args.planes, depth, height, width, args.x, args.y, args.indices);
    }
    // Indices count from the start of their own plane.
    if (args.indices == nullptr) merge_planes(args.planes, args.depth, args.height);
    const bool pairs = args.indices == nullptr && tiles_in_pairs(depth, height, width);
    return pairs ? search_tiles(args) : search_taps(args);
  }
  if (covers_all(depth) && covers_all(height) && covers_all(width)) {
    return fold_planes<T, Max>(args.planes, depth.in * height.in * width.in, args.x, args.y,
                               [](Vec<T> folded) { return folded; });
  }
  Identity identity;
  if (slides(depth, height, width)) {
    merge_planes(args.planes, args.depth, args.height);
    return slide<T, Max>(args.planes, depth, height, width, args.x, args.y, identity);
  }
  fold_windows<T, Max>(args.planes, depth, height, width, args.x, args.y, identity);
}

template void max_pool3d_forward(const MaxPoolForwardArgs<float>&);
template void max_pool3d_forward(const MaxPoolForwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
