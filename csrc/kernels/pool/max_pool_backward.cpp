// Max pooling's gradient from taps: an input adds grad_y of those outputs above it whose tap it is
// (spread.h). Outputs are visited in row-major order.
//
// Workspace a thread: three times the rows of outputs that the rows of a block of up to 1024 input
// columns need, at least 16 KiB, + 1024 columns.
#include "kernels/pool/spread.h"

namespace fastnn::FASTNN_ISA {

using namespace pool;

namespace {

// For each phase of rows and columns the taps of a block: which they are, and where their outputs
// lie in scratch relative to the first one of the block's row.
template <class T>
struct Gathered {
  int64_t begin[kMaxSlidingStride * kMaxSlidingStride + 1];
  int64_t offsets[kNoTap];
  T taps[kNoTap];

  void prepare(const MaxPoolBackwardArgs<T>& args, const Spread<T>& spread,
               const typename Spread<T>::Slices& slices) {
    int64_t count = 0, *phase_begin = begin;
    for (int64_t ph = 0; ph < args.height.stride; ++ph) {
      for (int64_t pw = 0; pw < args.width.stride; ++pw) {
        *phase_begin++ = count;
        for (int64_t s = 0; s < slices.count; ++s) {
          // The later tap has the earlier output.
          for (int64_t i = spread.down.begin[ph + 1] - 1; i >= spread.down.begin[ph]; --i) {
            const int64_t row = s * spread.slice_rows + spread.down.offset[i];
            const int64_t before =
                (slices.tap[s] * args.height.kernel + spread.down.tap[i]) * args.width.kernel;
            for (int64_t k = spread.across.begin[pw]; k < spread.across.begin[pw + 1]; ++k) {
              offsets[count] = row * spread.pitch + spread.across.offset[k];
              taps[count++] = static_cast<T>(before + spread.across.tap[k]);
            }
          }
        }
      }
    }
    *phase_begin = count;
  }
};

// Taps down in each phase of rows and across in each phase of columns, for strides of 1 (Down1 and
// Across1 are 0) and 2.
template <int kDown0, int kDown1, int kAcross0, int kAcross1>
struct Counts {
  static constexpr int kStride = kDown1 == 0 ? 1 : 2;
  static constexpr int kTaps = (kDown0 + kDown1) * (kAcross0 + kAcross1);
  static FASTNN_INLINE int begin(int64_t ph, int64_t pw) {
    return (ph == 0 ? 0 : kDown0 * (kAcross0 + kAcross1)) +
           (pw == 0 ? 0 : (ph == 0 ? kDown0 : kDown1) * kAcross0);
  }
  static FASTNN_INLINE int count(int64_t ph, int64_t pw) {
    return (ph == 0 ? kDown0 : kDown1) * (pw == 0 ? kAcross0 : kAcross1);
  }
};

// The gradients of a block's rows from its `gradients` and `taps` in scratch.
template <class T>
struct RowWriter {
  const Spread<T>& spread;
  const Gathered<T>& gathered;
  const T *gradients, *taps;
  const T* limit;
  T* spare;

  template <class Counted>
  void fixed(const Blocks::Block& b, T* to) const {
    int64_t offsets[Counted::kTaps];  // copies that no store can alias
    Vec<T> numbers[Counted::kTaps];
    for (int k = 0; k < Counted::kTaps; ++k) offsets[k] = gathered.offsets[k];
    for (int k = 0; k < Counted::kTaps; ++k) numbers[k] = Vec<T>(gathered.taps[k]);
    const T *grad = gradients, *tap = taps;
    for (int64_t r = 0; r < b.rows; grad += spread.pitch, tap += spread.pitch) {
      FASTNN_UNROLL
      for (int ph = 0; ph < Counted::kStride; ++ph, ++r, to += spread.width.in) {
        if (ph > 0 && r == b.rows) break;
        const auto gather = [&](int64_t pw, int64_t j) FASTNN_INLINE_LAMBDA {
          Vec<T> sum = Vec<T>::zero();
          const int begin = Counted::begin(ph, pw), end = begin + Counted::count(ph, pw);
          FASTNN_UNROLL
          for (int k = begin; k < end; ++k) {
            const auto won = Vec<T>::load(tap + offsets[k] + j) == numbers[k];
            sum = select(won, sum + Vec<T>::load(grad + offsets[k] + j), sum);
          }
          return sum;
        };
        spread.template write_row<Counted::kStride>(b.columns, to, limit, spare, gather);
      }
    }
  }

  template <int kStride>
  void any(const Blocks::Block& b, T* to) const {
    const int64_t stride = spread.width.stride;
    const int64_t* phase_begin = gathered.begin;
    int64_t place = 0;
    for (int64_t r = 0, ph = 0; r < b.rows; ++r, to += spread.width.in, phase_begin += stride) {
      if (ph++ == spread.height.stride) {
        ph = 1, phase_begin = gathered.begin, place += spread.pitch;
      }
      const auto gather = [&](int64_t pw, int64_t j) FASTNN_INLINE_LAMBDA {
        Vec<T> sum = Vec<T>::zero();
        for (int64_t k = phase_begin[pw]; k < phase_begin[pw + 1]; ++k) {
          const int64_t at = place + gathered.offsets[k] + j;
          const auto won = Vec<T>::load(taps + at) == Vec<T>(gathered.taps[k]);
          sum = select(won, sum + Vec<T>::load(gradients + at), sum);
        }
        return sum;
      };
      spread.template write_row<kStride>(b.columns, to, limit, spare, gather);
    }
  }

  // The common windows have loops of their own.
  static auto choose(const Spread<T>& spread) {
    const auto has = [&](int64_t stride, int64_t first, int64_t second) {
      const auto axis = [&](const Phases& phases, int64_t its_stride) {
        return its_stride == stride && phases.begin[1] == first &&
               phases.begin[stride] == first + second;
      };
      return axis(spread.down, spread.height.stride) && axis(spread.across, spread.width.stride) &&
             spread.slices == 1 && spread.depth.kernel <= spread.depth.stride;
    };
    if (has(1, 3, 0)) return &RowWriter::template fixed<Counts<3, 0, 3, 0>>;
    if (has(2, 1, 1)) return &RowWriter::template fixed<Counts<1, 1, 1, 1>>;
    if (has(2, 1, 2)) return &RowWriter::template fixed<Counts<1, 2, 1, 2>>;
    if (has(2, 2, 1)) return &RowWriter::template fixed<Counts<2, 1, 2, 1>>;
    if (spread.width.stride == 1) return &RowWriter::template any<1>;
    return spread.width.stride == 2 ? &RowWriter::template any<2> : &RowWriter::template any<0>;
  }
};

// The outputs of a slice: gradients, and taps in T.
template <class T>
struct Gradients {
  const T* slice;
  int64_t pitch;
  const T* at = nullptr;
  FASTNN_INLINE void row(int64_t oh) { at = slice + oh * pitch; }
  FASTNN_INLINE Vec<T> operator()(int64_t j) const { return Vec<T>::load(at + j); }
  FASTNN_INLINE Vec<T> operator()(int64_t j, int64_t n) const { return Vec<T>::load(at + j, n); }
};

template <class T>
struct Taps : Gradients<T> {
  FASTNN_INLINE Vec<T> operator()(int64_t j) const { return Vec<T>::load(this->at + j); }
  FASTNN_INLINE Vec<T> operator()(int64_t j, int64_t n) const {
    return Vec<T>::load(this->at + j, n, static_cast<T>(kNoTap));
  }
};

template <class T>
void convert(const uint8_t* from, int64_t n, T* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(from[i]);
}

}  // namespace

template <class T>
void max_pool3d_backward(const MaxPoolBackwardArgs<T>& original) {
  if (original.planes == 0) return;
  MaxPoolBackwardArgs<T> args = original;
  merge_planes(args.planes, args.depth, args.height);
  const PoolAxis &depth = args.depth, &height = args.height, &width = args.width;
  const Spread<T> spread(args.planes, depth, height, width, 3);
  const Blocks& blocks = spread.blocks;
  const int64_t work =
      (divide_up(depth.kernel, depth.stride) * divide_up(height.kernel, height.stride) *
           divide_up(width.kernel, width.stride) +
       4) *
      blocks.rows * blocks.columns;
  const int64_t grain = larger(1, kPartWork / 2 / work);
  const int64_t workers = plan_workers(divide_up(blocks.count, grain));
  const int64_t held = spread.held();
  const int64_t bytes_size = spread.slice_rows * spread.columns;  // taps of a slice as they were
  const int64_t each = 2 * held + bytes_size + spread.spare();
  Workspace workspace(workers * each * static_cast<int64_t>(sizeof(T)));
  T* const scratch = workspace.take<T>(workers * each);

  const auto write = RowWriter<T>::choose(spread);
  const auto write_any = width.stride == 1   ? &RowWriter<T>::template any<1>
                         : width.stride == 2 ? &RowWriter<T>::template any<2>
                                             : &RowWriter<T>::template any<0>;

  parallel_for(blocks.count, grain, [&](int64_t begin, int64_t end, int worker) {
    T* const gradients = scratch + worker * each;
    T* const taps = gradients + held;
    T* const converted = taps + held;
    T* const spare = converted + bytes_size;
    const Blocks::Block last = blocks[end - 1];
    const T* const limit =
        blocks.chunks == 1 ? args.grad_x + blocks.place(last) + last.rows * width.in : nullptr;
    typename Spread<T>::Slices slices;
    Gathered<T> gathered;
    for (int64_t i = begin; i < end; ++i) {
      const Blocks::Block b = blocks[i];
      spread.cover(b.d, slices);
      const auto outputs = spread.outputs_of(b);
      for (int64_t s = 0; s < slices.count; ++s) {
        const int64_t slice =
            (b.plane * depth.out + slices.out[s]) * height.out * width.out + outputs.column;
        const int64_t at = s * spread.slice_rows * spread.pitch;
        spread.load_slice(outputs, T{0}, gradients + at,
                          Gradients<T>{args.grad_y + slice, width.out});
        const uint8_t* from = args.taps + slice + outputs.row * width.out;
        if (outputs.valid == width.out) {
          convert(from, outputs.rows * width.out, converted);
        } else {
          for (int64_t r = 0; r < outputs.rows; ++r) {
            convert(from + r * width.out, outputs.valid, converted + r * outputs.valid);
          }
        }
        spread.load_slice(outputs, static_cast<T>(kNoTap), taps + at,
                          Taps<T>{{converted - outputs.row * outputs.valid, outputs.valid}});
      }
      if (i == begin || depth.in > 1) gathered.prepare(args, spread, slices);
      const auto kernel = slices.count == spread.slices ? write : write_any;
      (RowWriter<T>{spread, gathered, gradients, taps, limit, spare}.*kernel)(
          b, args.grad_x + blocks.place(b));
    }
  });
}

template void max_pool3d_backward(const MaxPoolBackwardArgs<float>&);
template void max_pool3d_backward(const MaxPoolBackwardArgs<double>&);

}  // namespace fastnn::FASTNN_ISA
