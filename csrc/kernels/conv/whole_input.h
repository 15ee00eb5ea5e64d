// Convolution whose kernel covers the whole input, so that each image gives one position: matrix
// products over the batch, y (images, filters) = x (images, weights of a filter) w^T. Such are the
// last layer of many a network, 1x1 on pooled planes, and transposed, from a single position, the
// first layer of a generator.
//
// Workspace: the GEMM engine's, and for the transpose one value an element of an image.
#pragma once

#include "ops/conv.h"

namespace fastnn::FASTNN_ISA {

bool covers_input(const ConvGeometry& geometry);

template <class T>
void convolve_whole_input(const ConvForwardArgs<T>& args);
template <class T>
void transpose_whole_input(const ConvBackwardInputArgs<T>& args);
template <class T>
void whole_input_gradient(const ConvBackwardWeightArgs<T>& args);

}  // namespace fastnn::FASTNN_ISA
