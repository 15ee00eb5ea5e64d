// Every family's argument structs. They hold data only: an inline function here would be compiled
// by every instruction set and merged into one by the linker.
#pragma once

#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/dropout.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/gemm.h"
#include "ops/loss.h"
#include "ops/machine.h"
#include "ops/norm.h"
#include "ops/optim.h"
#include "ops/pool.h"
#include "ops/resize.h"
#include "ops/rnn.h"
#include "ops/softmax.h"
