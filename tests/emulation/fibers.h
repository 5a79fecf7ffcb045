// Threads of a block as fibers: one runs until it waits at a barrier, then the next one.
// Deterministic; a fiber is left only at barriers, so a kernel without one costs no switch.
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "harness.h"

namespace tn_emulator {

enum class State : char { READY, WARP, BLOCK, DONE };  // WARP, BLOCK: waits for the rest of it

struct Fiber {
  static constexpr size_t STACK = 256 * 1024, GUARD = 4096;
  jmp_buf registers;
  char* stack;
  bool fresh = true;  // nothing has run on its stack
  State state = State::READY;
  unsigned thread = 0;  // of the block: the one it runs now
  uint3 index;
  Place where;

  Fiber() {
    void* memory = mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    stack = static_cast<char*>(memory);
    mprotect(stack, GUARD, PROT_NONE);
  }
  ~Fiber() { munmap(stack, STACK); }
  Fiber(const Fiber&) = delete;

  bool waits_with(const Fiber& other) const {
    return state == other.state && where.line() == other.where.line() &&
           !std::strcmp(where.file_name(), other.where.file_name());
  }
};

// Shared memory of a block, with a margin behind it that must stay as it is.
class Shared {
 public:
  static constexpr size_t MARGIN = 1024;
  const int line;  // of the declaration; 0 is dynamic
  const size_t bytes;

  Shared(int line, size_t bytes)
      : line(line), bytes(bytes), memory_(std::aligned_alloc(256, room())) { reset(); }
  void* get() const { return memory_.get(); }
  void reset() { poison(get(), room()); }
  bool overrun() const {
    const char* const memory = static_cast<char*>(get());
    for (size_t i = bytes; i < room(); ++i)
      if (memory[i] != char(POISON >> 8 * (i % 4))) return true;
    return false;
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  size_t room() const { return (bytes + MARGIN + 255) / 256 * 256; }
  std::unique_ptr<void, Free> memory_;
};

// Runs blocks, one after the other, on the operating system's thread that made it.
class Worker {
 public:
  explicit Worker(const Launch& launch)
      : launch_(launch), slots_(2 * launch.threads()), turn_(launch.threads()) {
    shared_.emplace_back(0, launch.shared);
    current_ = this;
  }
  ~Worker() {
    current_ = nullptr;
    const std::lock_guard lock(spare_mutex_);
    for (auto& fiber : fibers_) spare_.push_back(std::move(fiber));
  }
  static Worker* current() { return current_; }
  bool runs_a_thread() const { return fiber_; }

  void run_block(size_t block) {
    blockIdx = launch_.block_index(block);
    blockDim = launch_.block;
    gridDim = launch_.grid;
    for (Shared& part : shared_) part.reset();
    next_thread_ = 0;
    size_t used = 0;
    while (next_thread_ < launch_.threads()) resume(fiber(used++));
    while (release(used))
      for (size_t i = 0; i < used; ++i)
        if (fibers_[i]->state == State::READY) resume(*fibers_[i]);
    for (const Shared& part : shared_)
      if (part.overrun())
        throw std::runtime_error("block " + text(blockIdx) + " wrote beyond its " +
                                 std::to_string(part.bytes) + " bytes of shared memory" +
                                 (part.line ? ", line " + std::to_string(part.line) : ""));
  }

  // What follows is called by threads of the block.

  void wait(State state, const Place& where) {
    fiber_->state = state;
    fiber_->where = where;
    leave();
  }
  // Two slots a thread, in turn: the one before may still be read by a thread that is behind.
  char* slot(unsigned thread, unsigned turn) {
    return reinterpret_cast<char*>(&slots_[2 * thread + turn % 2]);
  }
  unsigned turn() { return turn_[fiber_->thread]++; }
  void* shared(int line, size_t bytes) {
    size_t of_static = line ? bytes : 0;
    for (const Shared& part : shared_) {
      if (part.line == line && (part.bytes == bytes || !line)) return part.get();
      if (part.line) of_static += part.bytes;
    }
    if (of_static > MAX_STATIC_SHARED || of_static + launch_.shared > MAX_SHARED)
      stop("more than 48 KiB of static or 227 KiB of shared memory");
    return shared_.emplace_back(line, bytes).get();
  }
  [[noreturn]] void stop(const std::string& reason) {
    error_ = "thread " + text(fiber_->index) + " of block " + text(blockIdx) + ": " + reason;
    _longjmp(scheduler_, 1);
  }

 private:
  Fiber& fiber(size_t i) {
    const std::lock_guard lock(spare_mutex_);
    if (i == fibers_.size()) {
      if (spare_.empty()) spare_.push_back(std::make_unique<Fiber>());
      fibers_.push_back(std::move(spare_.back()));
      spare_.pop_back();
      fibers_.back()->fresh = true;
    }
    return *fibers_[i];
  }

  void resume(Fiber& fiber) {
    fiber_ = &fiber;
    threadIdx = fiber.index;
    enter(fiber);
    fiber_ = nullptr;
    if (!error_.empty()) throw std::runtime_error(error_);
  }

  // Makes ready what may go on; false if every thread has returned.
  bool release(size_t used) {
    std::vector<Fiber*> waiting;  // in the order of their threads
    for (size_t i = 0; i < used; ++i)
      if (fibers_[i]->state != State::DONE) waiting.push_back(fibers_[i].get());
    if (waiting.empty()) return false;
    bool some = false;
    for (size_t i = 0, end; i < waiting.size(); i = end) {
      const unsigned warp = waiting[i]->thread / warpSize;
      bool shuffles = false;
      for (end = i; end < waiting.size() && waiting[end]->thread / warpSize == warp; ++end)
        shuffles |= waiting[end]->state == State::WARP;
      const unsigned lanes = std::min(launch_.threads() - warp * warpSize, unsigned(warpSize));
      if (shuffles) go_on(&waiting[i], end - i, lanes);
      some |= shuffles;
    }
    if (!some) go_on(waiting.data(), waiting.size(), launch_.threads());
    return true;
  }

  void go_on(Fiber** waiting, size_t count, size_t expected) {
    for (size_t i = 0; i < count; ++i) {
      const Fiber &one = *waiting[0], &other = *waiting[i];
      if (!one.waits_with(other)) diverged(one, text(other.index) + " at " + text(other.where));
    }
    if (count != expected)
      diverged(*waiting[0], std::to_string(expected - count) + " have returned");
    for (size_t i = 0; i < count; ++i) waiting[i]->state = State::READY;
  }
  [[noreturn]] void diverged(const Fiber& fiber, const std::string& others) const {
    throw std::runtime_error("divergent barrier in block " + text(blockIdx) + ": thread " +
                             text(fiber.index) + " waits at " + text(fiber.where) + ", " + others);
  }

  // A fiber runs one thread after the other until one of them waits.
  [[noreturn]] void run_threads() {
    for (;;) {
      while (next_thread_ < launch_.threads()) {
        fiber_->thread = next_thread_++;
        fiber_->state = State::READY;
        threadIdx = fiber_->index = launch_.thread_index(fiber_->thread);
        launch_.kernel.call(launch_.args);
      }
      fiber_->state = State::DONE;
      leave();
    }
  }
  static void body() { current_->run_threads(); }

  // setjmp and longjmp switch without the system calls of swapcontext, which only begins a stack.
  [[gnu::noinline]] void enter(Fiber& fiber) {
    if (_setjmp(scheduler_)) return;
    if (!fiber.fresh) _longjmp(fiber.registers, 1);
    fiber.fresh = false;
    begin(fiber);
  }
  [[gnu::noinline]] static void begin(Fiber& fiber) {
    ucontext_t context;
    getcontext(&context);
    context.uc_stack = {.ss_sp = fiber.stack, .ss_flags = 0, .ss_size = Fiber::STACK};
    context.uc_link = nullptr;
    makecontext(&context, body, 0);
    setcontext(&context);
  }
  [[gnu::noinline]] void leave() {
    if (!_setjmp(fiber_->registers)) _longjmp(scheduler_, 1);
  }

  const Launch& launch_;
  jmp_buf scheduler_;
  Fiber* fiber_ = nullptr;  // the one that runs
  unsigned next_thread_ = 0;
  std::string error_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Shared> shared_;
  std::vector<unsigned long long> slots_;
  std::vector<unsigned> turn_;

  // Stacks outlive a launch: their pages are warm.
  inline static std::mutex spare_mutex_;
  inline static std::vector<std::unique_ptr<Fiber>> spare_;
  inline static thread_local constinit Worker* current_ = nullptr;
};

void* dynamic_shared() { return Worker::current()->shared(0, 0); }
void* static_shared(int line, size_t bytes) { return Worker::current()->shared(line, bytes); }
void block_barrier(const Place& where) { Worker::current()->wait(State::BLOCK, where); }
void warp_barrier(const Place& where) { Worker::current()->wait(State::WARP, where); }
unsigned exchange_turn() { return Worker::current()->turn(); }
char* exchange_slot(unsigned thread, unsigned turn) {
  return Worker::current()->slot(thread, turn);
}
void fail(const char* reason, const Place& where) {
  Worker::current()->stop(reason + std::string(" at ") + text(where));
}

// Runs every block; the text says what went wrong.
inline std::string run(const Launch& launch, unsigned workers) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::string error;
  const auto work = [&] {
    try {
      Worker worker(launch);
      for (size_t block; (block = next++) < launch.blocks();) worker.run_block(block);
    } catch (const std::exception& exception) {
      const std::lock_guard lock(mutex);
      error = exception.what();
      next = launch.blocks();
    }
  };
  std::vector<std::jthread> others;
  for (unsigned i = 1; i < workers; ++i) others.emplace_back(work);
  work();
  others.clear();
  return error;
}

}  // namespace tn_emulator
