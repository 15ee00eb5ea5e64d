// Dot products of reduced precision over words: a word is 32 bits and holds four 8-bit integers or
// two bfloat16, the first in the lowest bits; a vector of words is as long as one of float.
//
// A Dot says how a word of the left operand (the same in every lane) and a vector of words of the
// right operand are prepared, and adds their products to the sums. Native ones run only where
// extensions() has them. They are inline assembly, because the templates around them are compiled
// for any machine of the instruction set: so the compiler cannot use the extension elsewhere.
//
// Every Int8Dot gives the same sums, exact modulo 2^32. A Bfloat16Dot adds the second product of a
// word, then the first, each by a fused multiply-add; the native one takes subnormal operands for
// zero and makes subnormal results zero.
#pragma once

#include "simd/vec.h"

namespace fastnn::FASTNN_ISA {

using Words = IntVec<float>;

// p[i] = the lowest byte of lane i.
template <class T>
FASTNN_INLINE void store_low_bytes(uint8_t* p, IntVec<T> a) {
#if defined(FASTNN_ISA_AVX512)
  const __m512i v = native::bits(a.v);
  if constexpr (sizeof(T) == 4) {
    const __m128i bytes = _mm512_maskz_cvtepi32_epi8(__mmask16{0xffff}, v);
    __builtin_memcpy(p, &bytes, 16);
  } else {
    const __m128i bytes = _mm512_maskz_cvtepi64_epi8(__mmask8{0xff}, v);
    __builtin_memcpy(p, &bytes, 8);
  }
#else
  typename IntVec<T>::Lane lanes[IntVec<T>::kSize];
  a.store(lanes);
  for (int64_t i = 0; i < IntVec<T>::kSize; ++i) p[i] = static_cast<uint8_t>(lanes[i]);
#endif
}

// Sums of unsigned bytes (left) times signed bytes (right).
struct Int8Dot {
  static constexpr bool kNative = false;
  using Lane = int32_t;
  using Sum = Words;
#if defined(FASTNN_ISA_AVX512) || defined(FASTNN_ISA_AVX2)
  // Even and odd bytes, widened to 16 bits.
  struct Operand {
    Words even, odd;
  };
  static FASTNN_INLINE Operand left(Words w) {
    const Words low(0x00ff00ff);
    return {w & low, shift_right<8>(w) & low};
  }
#if defined(FASTNN_ISA_AVX512)
  static FASTNN_INLINE Operand right(Words w) {
    const __m512i v = native::bits(w.v);
    return {wrap(_mm512_srai_epi16(_mm512_slli_epi16(v, 8), 8)), wrap(_mm512_srai_epi16(v, 8))};
  }
  static FASTNN_INLINE Words wrap(__m512i v) { return Words(reinterpret_cast<Words::Native>(v)); }
  static FASTNN_INLINE Words multiply_add(Words a, Words b) {
    return wrap(_mm512_madd_epi16(native::bits(a.v), native::bits(b.v)));
  }
#else
  static FASTNN_INLINE Operand right(Words w) {
    const __m256i v = native::bits(w.v);
    return {wrap(_mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8)), wrap(_mm256_srai_epi16(v, 8))};
  }
  static FASTNN_INLINE Words wrap(__m256i v) { return Words(reinterpret_cast<Words::Native>(v)); }
  static FASTNN_INLINE Words multiply_add(Words a, Words b) {
    return wrap(_mm256_madd_epi16(native::bits(a.v), native::bits(b.v)));
  }
#endif
  static FASTNN_INLINE Sum add(Sum sum, const Operand& a, const Operand& b) {
    return sum + (multiply_add(a.even, b.even) + multiply_add(a.odd, b.odd));
  }
#else
  struct Operand {
    Words byte[4];
  };
  static FASTNN_INLINE Operand left(Words w) {
    const Words low(0xff);
    return {{w & low, shift_right<8>(w) & low, shift_right<16>(w) & low, shift_right<24>(w) & low}};
  }
  static FASTNN_INLINE Operand right(Words w) {
    return {{shift_right<24>(shift_left<24>(w)), shift_right<24>(shift_left<16>(w)),
             shift_right<24>(shift_left<8>(w)), shift_right<24>(w)}};
  }
  static FASTNN_INLINE Sum add(Sum sum, const Operand& a, const Operand& b) {
    return sum + Words(a.byte[0].v * b.byte[0].v + a.byte[1].v * b.byte[1].v +
                       a.byte[2].v * b.byte[2].v + a.byte[3].v * b.byte[3].v);
  }
#endif
};

struct Bfloat16Dot {
  static constexpr bool kNative = false;
  using Lane = float;
  using Sum = Vec<float>;
  struct Operand {
    Vec<float> first, second;
  };
  static FASTNN_INLINE Operand left(Words w) {
    return {bit_cast_to_float(shift_left<16>(w)),
            bit_cast_to_float(w & Words(static_cast<int32_t>(0xffff0000)))};
  }
  static FASTNN_INLINE Operand right(Words w) { return left(w); }
  static FASTNN_INLINE Sum add(Sum sum, const Operand& a, const Operand& b) {
    return fma(a.first, b.first, fma(a.second, b.second, sum));
  }
};

#if defined(FASTNN_ISA_AVX512)
struct NativeInt8Dot {
  static constexpr bool kNative = true;
  using Lane = int32_t;
  using Sum = Words;
  using Operand = Words;
  static FASTNN_INLINE Operand left(Words w) { return w; }
  static FASTNN_INLINE Operand right(Words w) { return w; }
  static FASTNN_INLINE Sum add(Sum sum, Operand a, Operand b) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
    return sum;
  }
};

struct NativeBfloat16Dot {
  static constexpr bool kNative = true;
  using Lane = float;
  using Sum = Vec<float>;
  using Operand = Words;
  static FASTNN_INLINE Operand left(Words w) { return w; }
  static FASTNN_INLINE Operand right(Words w) { return w; }
  static FASTNN_INLINE Sum add(Sum sum, Operand a, Operand b) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
    return sum;
  }
};
#endif

}  // namespace fastnn::FASTNN_ISA
