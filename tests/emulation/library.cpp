// The emulation as a shared library, called by ctypes.
#include "fibers.h"

namespace tn_emulator {

// A thread's wild access ends its launch with an error; every other one is passed on.
static struct sigaction former[NSIG];

static void on_fault(int number, siginfo_t* info, void* context) {
  Worker* const worker = Worker::current();
  if (worker && worker->runs_a_thread())
    worker->stop(number == SIGFPE ? "integer division by zero"
                                  : "reads or writes memory that is not there");
  if (former[number].sa_flags & SA_SIGINFO) return former[number].sa_sigaction(number, info, context);
  if (former[number].sa_handler != SIG_DFL && former[number].sa_handler != SIG_IGN)
    return former[number].sa_handler(number);
  signal(number, SIG_DFL);  // and the access is tried again
}

[[gnu::constructor]] static void watch() {
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;  // left by a jump: never blocked
  for (int number : {SIGSEGV, SIGBUS, SIGFPE}) sigaction(number, &action, &former[number]);
}

}  // namespace tn_emulator

extern "C" {

[[gnu::visibility("default")]] const char* tn_describe() {
  static const std::string lines = tn_emulator::describe_kernels();
  return lines.c_str();
}

// Null, or what went wrong: valid until this thread's next launch.
[[gnu::visibility("default")]] const char* tn_launch(  //
    unsigned kernel, const unsigned* grid, const unsigned* block, unsigned long long shared,
    void* const* args, unsigned workers) {
  thread_local std::string error;
  const tn_emulator::Launch launch{tn_emulator::KERNELS[kernel], {grid[0], grid[1], grid[2]},
                                   {block[0], block[1], block[2]}, shared, args};
  error = tn_emulator::refusal(launch);
  if (error.empty()) error = tn_emulator::run(launch, workers);
  return error.empty() ? nullptr : error.c_str();
}
}
