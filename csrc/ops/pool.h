#pragma once

#include <cstdint>

namespace fastnn {

}  // namespace fastnn
