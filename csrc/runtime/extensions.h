// Instructions that only some machines of an instruction set have; a kernel asks once a call.
#pragma once

namespace fastnn {

struct Extensions {
  bool int8_dot;      // avx512: AVX512_VNNI
  bool bfloat16_dot;  // avx512: AVX512_BF16
};

// What this machine has.
Extensions extensions();

// For tests: false does without them.
void use_extensions(bool enabled);

}  // namespace fastnn
