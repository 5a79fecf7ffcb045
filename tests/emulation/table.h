// The table of a source's kernels, which is how a launch finds them; build.py writes
//     const Kernel KERNELS[] = {describe<run_stage<float, true>>("run_stage<float, true>", 512)};
// Included by every source: it costs nothing to compile.
#pragma once

#include <stddef.h>

#include <type_traits>
#include <utility>

namespace tn_emulator {

struct Parameter {
  char kind;  // NumPy's letter: f, i, u, b
  int size;   // of the number, or of the array's numbers
  bool array, constant;
};

struct Kernel {
  const char* expression;
  unsigned max_threads;  // its __launch_bounds__
  const Parameter* parameters;
  size_t count;
  void (*call)(void* const* args);  // one address an argument, as for cuLaunchKernel
};

extern const Kernel KERNELS[];
extern const size_t NUM_KERNELS;

template <typename P>
constexpr Parameter parameter() {
  using Value = std::remove_pointer_t<P>;
  static_assert(std::is_arithmetic_v<Value>, "kernels take numbers and pointers to numbers");
  const char kind = std::is_same_v<std::remove_cv_t<Value>, bool> ? 'b'
                    : std::is_floating_point_v<Value>             ? 'f'
                    : std::is_signed_v<Value>                     ? 'i'
                                                                  : 'u';
  return {kind, sizeof(Value), std::is_pointer_v<P>, std::is_const_v<Value>};
}

template <auto FUNCTION>
struct Entry;

template <typename... P, void (*FUNCTION)(P...)>
struct Entry<FUNCTION> {
  static constexpr Parameter parameters[] = {parameter<P>()..., {}};
  static constexpr size_t count = sizeof...(P);

  static void call(void* const* args) { call(args, std::index_sequence_for<P...>()); }
  template <size_t... I>
  static void call([[maybe_unused]] void* const* args, std::index_sequence<I...>) {
    FUNCTION(*static_cast<P*>(args[I])...);
  }
};

template <auto FUNCTION>
constexpr Kernel describe(const char* expression, unsigned max_threads) {
  using E = Entry<FUNCTION>;
  return {expression, max_threads, E::parameters, E::count, E::call};
}

}  // namespace tn_emulator
