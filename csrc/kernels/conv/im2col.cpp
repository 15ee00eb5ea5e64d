#include "kernels/conv/im2col.h"

#include "kernels/conv/gather.h"
#include "kernels/gemm/epilogue.h"

namespace fastnn::FASTNN_ISA {
namespace {

template <class T>
bool is_phase(const Convolution<T>& conv) {
  bool result = false;
  for (int i = 0; i < 3; ++i) result = result || conv.axes[i].positions != conv.output[i];
  return result;
}

// Adds the bias, finishes and spreads a tile over its images and their phase of y, by runs of
// columns that are evenly spaced in y: rows, or where a phase is all of y, what an image has.
template <class T>
struct ScatterEpilogue {
  const Convolution<T>& conv;
  const T* bias;         // of the group's first channel, or null
  T* y;                  // the group's first channel in the first image
  int64_t image_stride;  // in y

  void operator()(T* tile, int64_t stride, int64_t row, int64_t col, int64_t rows,
                  int64_t cols) const {
    const bool whole = !is_phase(conv);
    const int64_t length = whole ? positions_of(conv.axes) : conv.axes[2].positions;
    const int64_t step = whole ? 1 : conv.phase.step[2];
    for (int64_t j = 0; j < cols;) {
      const int64_t line = (col + j) / length, first = (col + j) % length;
      const int64_t count = min_of(length - first, cols - j);
      const int64_t offset = whole ? line * image_stride + first : line_offset(line) + first * step;
      for (int64_t i = 0; i < rows; ++i) {
        T* const target = y + (row + i) * product(conv.output) + offset;
        T* const source = tile + i * stride + j;
        const T shift = bias == nullptr ? T(0) : bias[row + i];
        store_run(source, count, shift, target, step);
      }
      j += count;
    }
  }

 private:
  // Where column 0 of a line, counted through all images, lies in y.
  int64_t line_offset(int64_t line) const {
    const Phase& phase = conv.phase;
    const int64_t plane = line / conv.axes[1].positions, image = plane / conv.axes[0].positions;
    const int64_t d = phase.first[0] + plane % conv.axes[0].positions * phase.step[0];
    const int64_t h = phase.first[1] + line % conv.axes[1].positions * phase.step[1];
    return image * image_stride + (d * conv.output[1] + h) * conv.output[2] + phase.first[2];
  }

  void store_run(T* source, int64_t count, T shift, T* target, int64_t step) const {
    constexpr int64_t kSize = Vec<T>::kSize;
    const bool in_place = step == 1 && !conv.finish.is_needed();
    T* const sums = in_place ? target : source;
    for (int64_t j = 0; j < count; j += kSize) {
      const int64_t lanes = min_of(kSize, count - j);
      (Vec<T>::load(source + j, lanes) + Vec<T>::broadcast(shift)).store(sums + j, lanes);
    }
    if (in_place) return;
    conv.finish(source, count, target, step);
    spread(source, count, target, step);
  }
};

// Finishes a tile of y.
template <class T>
struct RowEpilogue {
  const Finish<T>& finish;

  void operator()(T* tile, int64_t stride, int64_t, int64_t, int64_t rows, int64_t cols) const {
    if (finish.is_needed()) finish(tile, stride, rows, cols);
  }
};

// Cells that fit a block of kBlockElements.
template <class T>
Grid scattered_grid(const Grid& grid, const GemmShape& shape) {
  constexpr int64_t kMostCols = 16 * kGroup<T>;
  const int64_t cell_cols = min_of(grid.cell_cols, kMostCols);
  const int64_t parts = ceil_div(grid.cell_rows, kBlockElements / kMostCols - kTileRows);
  const int64_t cell_rows =
      parts == 1 ? grid.cell_rows
                 : round_up(ceil_div(grid.cell_rows, parts), panel_rows(shape.m, shape.k));
  return {ceil_div(shape.m, cell_rows), ceil_div(shape.n, cell_cols), cell_rows, cell_cols};
}

// Images a product: as many as give kSharedColumns columns, evenly spread, where one image would
// leave many columns of its last tile empty.
template <class T>
int64_t images_together(const Convolution<T>& conv) {
  constexpr int64_t kSharedColumns = 512;
  const int64_t positions = positions_of(conv.axes);
  if (positions >= kSharedColumns / 2 || fills_tiles<T>(positions)) return 1;
  return ceil_div(conv.batch, ceil_div(conv.batch * positions, kSharedColumns));
}

template <class T>
class Driver {
 public:
  explicit Driver(const Convolution<T>& conv)
      : conv_(conv),
        images_(images_together(conv)),
        shape_{conv.out_channels, images_ * positions_of(conv.axes), conv.weights.columns},
        scattered_(is_phase(conv) || images_ > 1),
        pointwise_(is_pointwise(conv)),
        products_(ceil_div(conv.batch, images_) * conv.groups),
        grid_(choose_grid<T>(products_, shape_)) {
    if (scattered_) grid_ = scattered_grid<T>(grid_, shape_);
  }

  void run() {
    constexpr int64_t kBytes = static_cast<int64_t>(sizeof(T));
    const int64_t packed = conv_.groups * shape_.m * shape_.k;
    const bool pack = conv_.prepared == nullptr && products_ / conv_.groups * grid_.across > 1 &&
                      packed * kBytes <= kMaxPackedWeights;
    Workspace workspace(pack ? packed * kBytes : 0);
    packed_ = conv_.prepared;
    if (pack) {
      T* const panels = workspace.take<T>(packed);
      pack_panels(conv_, panels);
      packed_ = panels;
    }
    const int64_t block = scattered_ ? round_up(grid_.cell_rows * grid_.cell_cols, 16) : 0;
    gemm_grid<T>(products_, shape_, grid_, block,
                 [&](int64_t product, const Cell& cell, T* scratch) {
                   run_cell(product, cell, scratch, scratch + block);
                 });
  }

 private:
  Weights<T> weights(int64_t group) const {
    Weights<T> w = conv_.weights;
    w.data += group * conv_.group_weights;
    if (packed_ != nullptr) w.packed = packed_ + group * shape_.m * shape_.k;
    return w;
  }

  void run_cell(int64_t index, const Cell& whole, T* block, T* scratch) const {
    const int64_t group = index % conv_.groups, image = index / conv_.groups * images_;
    const int64_t images = min_of(images_, conv_.batch - image);
    Cell cell = whole;  // the last product may have fewer images
    cell.cols = min_of(cell.cols, images * positions_of(conv_.axes) - cell.col);
    if (cell.cols <= 0) return;
    const int64_t source_size = conv_.axes[0].source * conv_.axes[1].source * conv_.axes[2].source;
    const int64_t first = image * conv_.groups + group;
    const T* x = conv_.x + first * conv_.in_channels * source_size;
    T* y = conv_.y + first * conv_.out_channels * product(conv_.output);
    const T* bias = conv_.bias == nullptr ? nullptr : conv_.bias + group * conv_.out_channels;
    const Weights<T> a = weights(group);
    const Patches<T> b{{conv_.axes[0], conv_.axes[1], conv_.axes[2]},
                       conv_.mode,
                       x,
                       conv_.groups * conv_.in_channels * source_size};
    if (scattered_) {
      // The engine addresses all of C; the block holds the cell alone.
      T* const origin = block - (cell.row * cell.cols + cell.col);
      const int64_t image_stride = conv_.groups * conv_.out_channels * product(conv_.output);
      gemm_cell<T>(cell, shape_.k, a, b, origin, cell.cols, false, scratch,
                   ScatterEpilogue<T>{conv_, bias, y, image_stride});
    } else if (pointwise_) {
      const DenseOperand<T> dense{x, 1, shape_.n, shape_.m <= kTileRows};
      gemm_cell<T>(cell, shape_.k, a, dense, y, shape_.n, false, scratch,
                   RowEpilogue<T>{conv_.finish}, {nullptr, bias});
    } else {
      gemm_cell<T>(cell, shape_.k, a, b, y, shape_.n, false, scratch, RowEpilogue<T>{conv_.finish},
                   {nullptr, bias});
    }
  }

  const Convolution<T>& conv_;
  int64_t images_;
  GemmShape shape_;
  bool scattered_, pointwise_;
  int64_t products_;
  Grid grid_;
  const T* packed_ = nullptr;
};

}  // namespace

template <class T>
void pack_panels(const Convolution<T>& conv, T* target) {
  const int64_t m = conv.out_channels, k = conv.weights.columns;
  const int64_t panel = panel_rows(m, k), panels = ceil_div(m, panel);
  const int64_t grain = max_of(1, (int64_t{1} << 15) / max_of(1, panel * k));
  parallel_for(conv.groups * panels, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t group = item / panels, row = item % panels * panel;
      Weights<T> w = conv.weights;
      w.data += group * conv.group_weights;
      w.pack(target + (group * m + row) * k, row, min_of(panel, m - row), panel, 0, k);
    }
  });
}

template <class T>
void convolve_im2col(const Convolution<T>& conv) {
  Driver<T>(conv).run();
}

template void pack_panels(const Convolution<float>&, float*);
template void pack_panels(const Convolution<double>&, double*);
template void convolve_im2col(const Convolution<float>&);
template void convolve_im2col(const Convolution<double>&);

}  // namespace fastnn::FASTNN_ISA
