// The transposed convolution onto few channels, as the gradient of a first layer: its phases are
// computed as the channels of one ordinary convolution, which fill a register tile and read y once,
// and are interleaved afterwards. A tap that only some phases have is a zero for the others.
// Workspace: all phases of one image, at most kMaxJointResults bytes, and their weights.
#pragma once

#include "ops/conv.h"

namespace fastnn::FASTNN_ISA {

bool is_joint(const ConvGeometry& g);

template <class T>
void joint_phases(const ConvBackwardInputArgs<T>& args);

}  // namespace fastnn::FASTNN_ISA
