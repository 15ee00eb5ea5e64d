// Random bits by position: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as
// easy as 1, 2, 3", SC 2011), the same on every ISA and in any order of the calls.
//
// A 64-bit seed is the key and a 64-bit stream the high half of the counter. Elements are numbered
// from 0 and go in groups of 64, the output of 16 blocks of four words: element i has word
// (i / 16) % 4 of the block whose counter's low half is i / 64 * 16 + i % 16.
#pragma once

#include "vec.h"

namespace fastnn::FASTNN_ISA {

inline constexpr int64_t kPhiloxGroup = 64;

struct PhiloxKey {
  uint64_t seed, stream;
};

namespace philox {

// Blocks side by side: one a lane, its words in the low halves; high halves are arbitrary.
inline constexpr int64_t kLanes = Vec<double>::kSize;
typedef uint64_t Lanes __attribute__((vector_size(8 * kLanes)));
typedef uint32_t Words
    __attribute__((vector_size(8 * kLanes)));  // as many as two Lanes have blocks
inline constexpr int64_t kWords = 2 * kLanes;

FASTNN_INLINE Lanes broadcast(uint64_t x) { return x - Lanes{}; }

// The 64-bit products of the low halves.
FASTNN_INLINE Lanes multiply_low(Lanes a, uint32_t b) {
#if defined(FASTNN_ISA_AVX512)
  return reinterpret_cast<Lanes>(_mm512_maskz_mul_epu32(
      __mmask8{0xff}, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(broadcast(b))));
#elif defined(FASTNN_ISA_AVX2)
  return reinterpret_cast<Lanes>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(broadcast(b))));
#elif defined(FASTNN_ISA_NEON)
  return reinterpret_cast<Lanes>(
      vmull_u32(vmovn_u64(reinterpret_cast<uint64x2_t>(a)), vdup_n_u32(b)));
#else
  return (a & broadcast(0xffffffff)) * broadcast(b);
#endif
}

struct Block {
  Lanes word[4];
};

// The ten rounds, on blocks whose counters' low halves are `counter`.
FASTNN_INLINE Block encrypt(Lanes counter, PhiloxKey key) {
  Lanes c0 = counter, c1 = counter >> 32;
  Lanes c2 = broadcast(key.stream), c3 = broadcast(key.stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  FASTNN_UNROLL
  for (int round = 0; round < 10; ++round) {
    const Lanes product0 = multiply_low(c0, 0xd2511f53), product1 = multiply_low(c2, 0xcd9e8d57);
    c0 = (product1 >> 32) ^ c1 ^ broadcast(k0);
    c1 = product1;
    c2 = (product0 >> 32) ^ c3 ^ broadcast(k1);
    c3 = product0;
    k0 += 0x9e3779b9;
    k1 += 0xbb67ae85;
  }
  return {{c0, c1, c2, c3}};
}

// words[w] = word w of the blocks first, first + 1, ... first + kWords - 1.
FASTNN_INLINE void words_of_blocks(uint64_t first, PhiloxKey key, Words (&words)[4]) {
  const Lanes even = broadcast(first) + 2 * reinterpret_cast<Lanes>(native::iota(int64_t()));
  const Block low = encrypt(even, key), high = encrypt(even + 1, key);
  FASTNN_UNROLL
  for (int w = 0; w < 4; ++w) {
    words[w] =
        reinterpret_cast<Words>((low.word[w] & broadcast(0xffffffff)) | (high.word[w] << 32));
  }
}

// Bit i tells whether lane i is at least `threshold`.
FASTNN_INLINE uint64_t bits_at_least(Words words, uint32_t threshold) {
#if defined(FASTNN_ISA_AVX512)
  return _mm512_cmpge_epu32_mask(reinterpret_cast<__m512i>(words),
                                 _mm512_set1_epi32(static_cast<int>(threshold)));
#elif defined(FASTNN_ISA_AVX2)
  const __m256i limit = _mm256_set1_epi32(static_cast<int>(threshold));
  const __m256i lanes = reinterpret_cast<__m256i>(words);
  const __m256i kept = _mm256_cmpeq_epi32(_mm256_max_epu32(lanes, limit), lanes);
  return static_cast<uint64_t>(
      static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(kept))));
#else
  uint64_t bits = 0;
  FASTNN_UNROLL
  for (int i = 0; i < kWords; ++i) bits |= uint64_t{words[i] >= threshold} << i;
  return bits;
#endif
}

}  // namespace philox

// words[j] = the word of element 64 * group + j.
FASTNN_INLINE void philox_words(PhiloxKey key, uint64_t group, uint32_t (&words)[kPhiloxGroup]) {
  for (int64_t block = 0; block < 16; block += philox::kWords) {
    philox::Words part[4];
    philox::words_of_blocks(group * 16 + static_cast<uint64_t>(block), key, part);
    FASTNN_UNROLL
    for (int w = 0; w < 4; ++w) __builtin_memcpy(words + 16 * w + block, &part[w], sizeof(part[w]));
  }
}

// Bit j tells whether the word of element 64 * group + j is at least `threshold`: an element is
// kept with probability 1 - threshold / 2^32.
FASTNN_INLINE uint64_t philox_keep(PhiloxKey key, uint64_t group, uint32_t threshold) {
  uint64_t keep = 0;
  for (int64_t block = 0; block < 16; block += philox::kWords) {
    philox::Words part[4];
    philox::words_of_blocks(group * 16 + static_cast<uint64_t>(block), key, part);
    FASTNN_UNROLL
    for (int w = 0; w < 4; ++w) {
      keep |= philox::bits_at_least(part[w], threshold) << (16 * w + block);
    }
  }
  return keep;
}

// Lane i is true where bit i is set.
template <class T>
FASTNN_INLINE Mask<T> mask_from_bits(uint64_t bits) {
  using Native = typename Mask<T>::Native;
#if defined(FASTNN_ISA_AVX512)
  return Mask<T>(static_cast<Native>(bits));
#else
  using Int = IntVec<T>;
  using Lane = typename Int::Lane;
  const Int powers(typename Int::Native(Int(Lane{1}).v << Int::iota().v));
  static_assert(sizeof(Native) == sizeof(powers.v));
  return (Int(static_cast<Lane>(bits)) & powers) == powers;
#endif
}

}  // namespace fastnn::FASTNN_ISA
