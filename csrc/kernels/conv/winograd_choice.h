// Which of the transforms suits a convolution; whether any pays is winograd.cpp's to say.
#pragma once

#include "kernels/conv/convolution.h"
#include "kernels/conv/winograd_schemes.h"

namespace fastnn::FASTNN_ISA {

// The scheme for the taps and the size of the map.
template <class T>
WinogradScheme scheme_for(const Convolution<T>& conv);

// Channels that may be summed: the rounding error grows with them and, with six points, with the
// size of the tiles. Large transforms also take memory.
int64_t most_channels(WinogradScheme scheme);

}  // namespace fastnn::FASTNN_ISA
