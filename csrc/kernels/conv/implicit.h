// Convolution as a matrix product whose patches are read in place: y (channels, positions) =
// weights (channels, taps) * patches (taps, positions), where a row of patches is a shifted view
// of the padded input and needs no packing.
//
// Strips of output rows are taken one at a time. Their input is copied with its padding, rows and
// columns sorted by their remainders by the stride, so that the positions of a strip, read as one
// line, lie next to each other for every tap. What is computed between the end of a row and the
// next is thrown away. Rows of whole vectors are taken one by one instead and go from registers to
// their place in y. Every element is one chain of fma over channels and taps in order, as in
// im2col.h. Workspace: packed weights unless conv.prepared has them, and a thread the strip's
// input (at most kMostStrip elements), kTileRows results a position and the offsets of the taps:
// under 32 MiB + 12 MiB a thread.
#pragma once

#include "kernels/conv/convolution.h"

namespace fastnn::FASTNN_ISA {

template <class T>
bool is_implicit(const Convolution<T>& conv);

template <class T>
void convolve_implicit(const Convolution<T>& conv);

}  // namespace fastnn::FASTNN_ISA
