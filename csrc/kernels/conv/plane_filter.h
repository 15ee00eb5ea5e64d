// What the kernels that read planes (plane.h) share: strips of the output and where taps lie.
#pragma once

#include "kernels/conv/convolution.h"
#include "kernels/conv/gather.h"
#include "kernels/conv/plane.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int64_t kMostTaps = 64;    // along each dimension
inline constexpr int64_t kMostSpan = 4096;  // input columns that one output sees

// A block of the output is rows x cols; its input takes about kStripBytes for all channels.
struct Strip {
  int64_t rows, cols;
};
inline constexpr int64_t kStripBytes = int64_t{1} << 17;

inline constexpr int64_t kPlaneBlock = int64_t{1} << 18;  // elements
inline constexpr int kStripRows = 4;                      // output rows of a register tile

template <class T>
Strip choose_strip(const Axis (&axes)[3], int64_t channels, int64_t least_rows) {
  const int64_t cols = min_of(axes[2].positions, 1024);
  const PlaneLayout<T> layout(axes[1], axes[2], cols);
  const int64_t source_rows =
      kStripBytes / static_cast<int64_t>(sizeof(T)) / (channels * layout.row_pitch);
  const int64_t fit = (source_rows - layout.row_span) / axes[1].step + 1;
  return {min_of(axes[1].positions, max_of(fit, least_rows)), cols};
}

// One image's depth is 1 and the taps are few enough for Filter.
inline bool is_planar(const Axis (&axes)[3]) {
  const Axis &depth = axes[0], &height = axes[1], &width = axes[2];
  const int64_t reach = (width.taps - 1) * (width.tap_step < 0 ? -width.tap_step : width.tap_step);
  return depth.taps == 1 && depth.positions == 1 && depth.source == 1 && depth.first == 0 &&
         height.taps >= 1 && width.taps >= 1 && height.taps <= kMostTaps &&
         width.taps <= kMostTaps && reach < kMostSpan && width.step <= 64;
}

// One image's depth is 1, the taps are few enough for Filter, and the smallest strip fits a block.
template <class T>
bool fits_block(const Axis (&axes)[3]) {
  if (!is_planar(axes)) return false;
  const Strip strip = choose_strip<T>(axes, 1, kStripRows);
  return PlaneLayout<T>(axes[1], axes[2], strip.cols).size(strip.rows) <= kPlaneBlock;
}

// Where the taps lie in a block, in elements, and the weights of one group.
template <class T>
struct Filter {
  Filter(const PlaneLayout<T>& layout) : row_step(layout.height.step * layout.row_pitch) {
    taps[0] = layout.height.taps;
    taps[1] = layout.width.taps;
    for (int64_t h = 0; h < taps[0]; ++h) tap_rows[h] = layout.tap_row(h) * layout.row_pitch;
    for (int64_t w = 0; w < taps[1]; ++w) tap_cols[w] = layout.tap_col(w);
  }

  int64_t taps[2];
  int64_t tap_rows[kMostTaps], tap_cols[kMostTaps];
  int64_t row_step;  // from an output row to the next
  const T* weights = nullptr;
  int64_t weight_strides[2] = {0, 0};
};

// Finishes rows x cols results and copies them to their place in the phase of a plane y.
template <class T>
void scatter_results(const Convolution<T>& conv, T* results, int64_t row, int64_t rows, int64_t col,
                     int64_t cols, T* y) {
  const Phase& phase = conv.phase;
  for (int64_t i = 0; i < rows; ++i) {
    T* const target = y + (phase.first[1] + (row + i) * phase.step[1]) * conv.output[2] +
                      phase.first[2] + col * phase.step[2];
    conv.finish(results + i * cols, cols, target, phase.step[2]);
    spread(results + i * cols, cols, target, phase.step[2]);
  }
}

// Calls run(item, scratch) for every item on all threads.
template <class T, class Run>
void for_each_plane(int64_t items, int64_t work, int64_t scratch, const Run& run) {
  const int64_t grain = max_of(1, min_of(kMinCellWork / max_of(1, work), items));
  const int workers = plan_workers(ceil_div(items, grain));
  Workspace workspace(workers * scratch * static_cast<int64_t>(sizeof(T)) + Workspace::kAlignment);
  T* const memory = workspace.take<T>(workers * scratch);
  parallel_for(items, grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) run(i, memory + worker * scratch);
  });
}

// Multiply-adds that copying one input element costs the time of.
inline constexpr int64_t kCopyWork = 8;

template <class T>
bool is_whole(const Convolution<T>& conv) {
  return conv.axes[1].positions == conv.output[1] && conv.axes[2].positions == conv.output[2];
}

}  // namespace fastnn::FASTNN_ISA
