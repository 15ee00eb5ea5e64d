// Measures the errors of simd/math.h and checks simd/vec.h, for the one ISA it is compiled for.
//
//   math_accuracy [--stride N] [--samples N] [--function NAME] [--hash]
//
// float: every N-th of the 2^32 inputs (default 1: all), the neighbourhood of every special place,
// against double. double: N random inputs (default 100000) from each of many ranges, against
// quadruple precision. Exits with 1 if an error exceeds its bound. With --hash it prints a hash of
// the float results instead, to show that two ISAs give the same bits.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simd/math.h"
#include "vec_checks.h"

#if defined(__x86_64__)
#include <quadmath.h>
typedef __float128 Quad;
#define FASTNN_QUAD(function) function##q
#else
typedef long double Quad;  // IEEE quadruple on AArch64
#define FASTNN_QUAD(function) function##l
#endif

namespace fastnn::FASTNN_ISA {

#define FASTNN_STRING2(x) #x
#define FASTNN_STRING(x) FASTNN_STRING2(x)

constexpr int64_t kBlock = 4096;

struct Function {
  const char* name;
  double bound;  // in ULP
  void (*run_float)(const float* x, float* y, int64_t n);
  void (*run_double)(const double* x, double* y, int64_t n);
  double (*in_double)(double x);
  Quad (*in_quad)(Quad x);
};

#define FASTNN_RUN(function)                                    \
  template <class T>                                            \
  void run_##function(const T* x, T* y, int64_t n) {            \
    for (int64_t i = 0; i < n; i += Vec<T>::kSize) {            \
      function(Vec<T>::load(x + i, n - i)).store(y + i, n - i); \
    }                                                           \
  }
FASTNN_RUN(exp)
FASTNN_RUN(exp2)
FASTNN_RUN(expm1)
FASTNN_RUN(log)
FASTNN_RUN(log1p)
FASTNN_RUN(tanh)
FASTNN_RUN(sigmoid)
FASTNN_RUN(erf)

double sigmoid_in_double(double x) { return 1.0 / (1.0 + ::exp(-x)); }
Quad sigmoid_in_quad(Quad x) { return Quad(1) / (Quad(1) + FASTNN_QUAD(exp)(-x)); }

#define FASTNN_FUNCTION(function, bound) \
  {#function,                            \
   bound,                                \
   run_##function<float>,                \
   run_##function<double>,               \
   ::function,                           \
   FASTNN_QUAD(function)}
const Function kFunctions[] = {
    FASTNN_FUNCTION(exp, 1.0),
    FASTNN_FUNCTION(log, 1.0),
    FASTNN_FUNCTION(exp2, 2.0),
    FASTNN_FUNCTION(expm1, 2.0),
    FASTNN_FUNCTION(log1p, 2.0),
    FASTNN_FUNCTION(tanh, 2.0),
    FASTNN_FUNCTION(erf, 2.0),
    {"sigmoid", 2.0, run_sigmoid<float>, run_sigmoid<double>, sigmoid_in_double, sigmoid_in_quad},
};

float float_of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof(x));
  return x;
}
uint32_t bits_of_float(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof(bits));
  return bits;
}
double double_of_bits(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof(x));
  return x;
}

// The error of y in ULP of the exact value; overflow to infinity counts as the power of two that
// follows the largest number. NaN for NaN and the sign of an exact zero are required.
double error_in_ulp(float y, double exact) {
  if (isnan(exact)) return isnan(y) ? 0.0 : INFINITY;
  if (isnan(y)) return INFINITY;
  if (exact == 0.0 && y == 0.0f) return signbit(exact) == signbit(y) ? 0.0 : INFINITY;
  const double overflow = 0x1p128;
  const double bounded = exact > overflow ? overflow : exact < -overflow ? -overflow : exact;
  const double result =
      isinf(y) ? ::copysign(overflow, static_cast<double>(y)) : static_cast<double>(y);
  uint64_t bits;
  memcpy(&bits, &bounded, sizeof(bits));
  int64_t exponent = static_cast<int64_t>((bits >> 52) & 0x7ff) - 1023;
  if (exponent < -126) exponent = -126;
  if (exponent > 127) exponent = 127;
  const double units = double_of_bits(static_cast<uint64_t>(1023 + 23 - exponent) << 52);
  return ::fabs(result - bounded) * units;
}
double error_in_ulp(double y, Quad exact) {
  if (exact != exact) return isnan(y) ? 0.0 : INFINITY;
  if (isnan(y)) return INFINITY;
  const double rounded = static_cast<double>(exact);
  if (rounded == 0.0 && y == 0.0) {
    return exact != 0 || signbit(rounded) == signbit(y) ? 0.0 : INFINITY;
  }
  const Quad overflow = Quad(0x1p1023) * Quad(2);
  const Quad bounded = exact > overflow ? overflow : exact < -overflow ? -overflow : exact;
  const Quad result = isinf(y) ? (y > 0 ? overflow : -overflow) : Quad(y);
  int exponent = -1022;
  if (isinf(rounded)) {
    exponent = 1023;
  } else if (::fabs(rounded) >= 0x1p-1022) {
    exponent = ilogb(rounded);
    const double power = ldexp(1.0, exponent);
    if (exact < Quad(power) && exact > -Quad(power)) --exponent;  // it was rounded up
  }
  const Quad difference = result > bounded ? result - bounded : bounded - result;
  return static_cast<double>(FASTNN_QUAD(ldexp)(difference, 52 - exponent));
}

struct Worst {
  double error = 0.0;
  double at = 0.0;
  template <class T>
  void add(double new_error, T x) {
    if (new_error > error) {
      error = new_error;
      at = static_cast<double>(x);
    }
  }
};

template <class T>
struct Runner;
template <>
struct Runner<float> {
  static void run(const Function& f, const float* x, int64_t n, Worst* worst) {
    float y[kBlock];
    f.run_float(x, y, n);
    for (int64_t i = 0; i < n; ++i) {
      worst->add(error_in_ulp(y[i], f.in_double(static_cast<double>(x[i]))), x[i]);
    }
  }
};
template <>
struct Runner<double> {
  static void run(const Function& f, const double* x, int64_t n, Worst* worst) {
    double y[kBlock];
    f.run_double(x, y, n);
    for (int64_t i = 0; i < n; ++i) {
      worst->add(error_in_ulp(y[i], f.in_quad(static_cast<Quad>(x[i]))), x[i]);
    }
  }
};

// Where an algorithm changes or a result leaves the range, and the values with a rule of their own.
// clang-format off
const double kPlaces[] = {
    0.0, 0x1p-149, 0x1p-126, 0x1p-1074, 0x1p-1022, 0x1p127, 0x1p1023, INFINITY, NAN, 0.5, 1.0, 2.0,
    // ln(2) and its halves and quarters, roots of 2 and 1/2 and what is beside them
    0.34657359027997264, 1.0397207708399179, 0.17328679513998632, 0.51986038541995897,
    0.70710678118654752, 1.4142135623730951, 0.41421356237309505, 0.29289321881345248,
    // limits of tanh, erf, sigmoid and expm1
    0.549306144334055, 0.55, 9.0109131, 10.0, 19.061547465398498, 20.0, 0.95, 3.9192059040069580,
    4.0, 5.8635847487551676, 5.95, 17.328680, 16.635532, 30.0, 36.736800569677101, 60.0,
    37.42994775023705, 40.0,
    // of exp
    87.336544, 88.722839, 89.0, 103.27893, 103.97208, 104.0, 708.39641853226408,
    709.78271289338397, 710.0, 744.44007192138122, 745.13321910194111, 746.0,
    // of exp2
    0.5, 126.0, 128.0, 129.0, 149.0, 150.0, 151.0, 1022.0, 1024.0, 1025.0, 1074.0, 1075.0, 1076.0};
// clang-format on

constexpr double kSigns[] = {1.0, -1.0};

Worst measure_float(const Function& f, uint64_t stride) {
  Worst worst;
  float x[kBlock];
  uint64_t next = 0;
  while (next < (uint64_t{1} << 32)) {
    int64_t n = 0;
    for (; n < kBlock && next < (uint64_t{1} << 32); next += stride) {
      x[n++] = float_of_bits(static_cast<uint32_t>(next));
    }
    Runner<float>::run(f, x, n, &worst);
  }
  for (const double place : kPlaces) {
    for (const double sign : kSigns) {
      const uint32_t center = bits_of_float(static_cast<float>(sign * place));
      for (int64_t i = 0; i < kBlock; ++i) {
        x[i] = float_of_bits(center + static_cast<uint32_t>(i - kBlock / 2));
      }
      Runner<float>::run(f, x, kBlock, &worst);
    }
  }
  return worst;
}

struct Random {
  uint64_t state = 1;
  uint64_t bits() {  // splitmix64
    state += 0x9e3779b97f4a7c15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
};

constexpr int kRanges = 9;
// One value from the range-th of the ranges that matter to some function.
double draw(Random* random, int range) {
  const double u = random->uniform();
  const double sign = random->bits() & 1 ? 1.0 : -1.0;
  switch (range) {
    case 0:
      return double_of_bits(random->bits());
    case 1:
      return sign * 750.0 * u;
    case 2:
      return sign * 40.0 * u;
    case 3:
      return sign * 6.0 * u;
    case 4:
      return sign * 1.1 * u;
    case 5:
      return sign * ::exp2(-60.0 * u);
    case 6:
      return 1.0 + sign * ::exp2(-50.0 * u);
    case 7:
      return sign *
             (0.34657359027997264 * (1.0 + 2.0 * ::floor(30.0 * u)) + random->uniform() * 1e-3);
    default:
      return sign * ::ldexp(u, -1015 - static_cast<int>(random->bits() % 60));
  }
}

Worst measure_double(const Function& f, int64_t samples) {
  Worst worst;
  Random random;
  double x[kBlock];
  for (int range = 0; range < kRanges; ++range) {
    for (int64_t done = 0; done < samples; done += kBlock) {
      const int64_t n = samples - done < kBlock ? samples - done : kBlock;
      for (int64_t i = 0; i < n; ++i) x[i] = draw(&random, range);
      Runner<double>::run(f, x, n, &worst);
    }
  }
  for (const double place : kPlaces) {
    for (const double sign : kSigns) {
      uint64_t center;
      const double value = sign * place;
      memcpy(&center, &value, sizeof(center));
      for (uint64_t i = 0; i < 64; ++i) x[i] = double_of_bits(center - 32 + i);
      Runner<double>::run(f, x, 64, &worst);
    }
  }
  return worst;
}

void print_hash(const Function& f, uint64_t stride) {
  uint64_t hash = 0xcbf29ce484222325u;
  float x[kBlock], y[kBlock];
  uint64_t next = 0;
  while (next < (uint64_t{1} << 32)) {
    int64_t n = 0;
    for (; n < kBlock && next < (uint64_t{1} << 32); next += stride) {
      x[n++] = float_of_bits(static_cast<uint32_t>(next));
    }
    f.run_float(x, y, n);
    for (int64_t i = 0; i < n; ++i) {
      hash = (hash ^ (isnan(y[i]) ? 0x7fc00000u : bits_of_float(y[i]))) * 0x100000001b3u;
    }
  }
  printf("%-8s %016llx\n", f.name, static_cast<unsigned long long>(hash));
}

bool report(const char* dtype, const Function& f, Worst worst) {
  const bool within = worst.error <= f.bound;
  printf("%-8s %-7s %-8s max %.4f ULP at %.17g (%a), bound %.0f%s\n", FASTNN_STRING(FASTNN_ISA),
         dtype, f.name, worst.error, worst.at, worst.at, f.bound, within ? "" : "  EXCEEDED");
  fflush(stdout);
  return within;
}

int run_all(int argc, char** argv) {
  uint64_t stride = 1;
  int64_t samples = 100000;
  const char* only = nullptr;
  bool hash = false;
  for (int i = 1; i < argc; ++i) {
    if (strcmp(argv[i], "--hash") == 0) {
      hash = true;
    } else if (i + 1 < argc && strcmp(argv[i], "--stride") == 0) {
      stride = strtoull(argv[++i], nullptr, 10);
    } else if (i + 1 < argc && strcmp(argv[i], "--samples") == 0) {
      samples = strtoll(argv[++i], nullptr, 10);
    } else if (i + 1 < argc && strcmp(argv[i], "--function") == 0) {
      only = argv[++i];
    } else {
      fprintf(stderr, "usage: %s [--stride N] [--samples N] [--function NAME] [--hash]\n", argv[0]);
      return 2;
    }
  }
  if (stride == 0) return 2;
  check_vec<float>();
  check_vec<double>();
  bool passed = vec_failures == 0;
  printf("%-8s vec     %d failures\n", FASTNN_STRING(FASTNN_ISA), vec_failures);
  for (const Function& f : kFunctions) {
    if (only != nullptr && strcmp(only, f.name) != 0) continue;
    if (hash) {
      print_hash(f, stride);
      continue;
    }
    passed &= report("float", f, measure_float(f, stride));
    passed &= report("double", f, measure_double(f, samples));
  }
  return passed ? 0 : 1;
}

}  // namespace fastnn::FASTNN_ISA

int main(int argc, char** argv) { return fastnn::FASTNN_ISA::run_all(argc, argv); }
