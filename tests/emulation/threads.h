// Threads of a block as real threads, for the sanitizers: no order among them but the barriers'.
// Several blocks run at once, each in shared memory of exactly the size that was asked for.
#pragma once

#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "harness.h"

namespace tn_emulator {

[[noreturn]] inline void give_up(const std::string& reason) {
  std::fprintf(stderr, "error: %s\n", reason.c_str());
  std::fflush(stderr);
  _exit(2);
}

class Barrier {
 public:
  explicit Barrier(unsigned threads) : threads_(threads) {}

  void wait(const Place& where) {
    std::unique_lock lock(mutex_);
    if (!waiting_) where_ = where;
    if (where.line() != where_.line())
      give_up("divergent barrier: threads wait at " + text(where_) + " and " + text(where));
    ++waiting_;
    if (returned_) give_up("divergent barrier at " + text(where) + ": others have returned");
    if (waiting_ == threads_) {
      waiting_ = 0;
      ++phase_;
      all_.notify_all();
    } else {
      const unsigned phase = phase_;
      all_.wait(lock, [&] { return phase_ != phase; });
    }
  }
  void leave() {
    const std::lock_guard lock(mutex_);
    ++returned_;
    if (waiting_) give_up("divergent barrier at " + text(where_) + ": others have returned");
  }

 private:
  const unsigned threads_;
  unsigned waiting_ = 0, returned_ = 0, phase_ = 0;
  Place where_;
  std::mutex mutex_;
  std::condition_variable all_;
};

class Block {
 public:
  explicit Block(const Launch& launch)
      : launch_(launch), all_(launch.threads()), slots_(2 * launch.threads()),
        turn_(launch.threads()) {
    add(0, launch.shared);
    for (unsigned first = 0; first < launch.threads(); first += warpSize)
      warps_.push_back(
          std::make_unique<Barrier>(std::min(launch.threads() - first, unsigned(warpSize))));
  }
  static Block& current() { return *current_; }

  void run(size_t number) {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < launch_.threads(); ++i)
      threads.emplace_back([this, number, i] { run_thread(number, i); });
    for (std::thread& thread : threads) thread.join();
  }

  Barrier& all() { return all_; }
  Barrier& warp() { return *warps_[linear_thread() / warpSize]; }
  unsigned turn() { return turn_[linear_thread()]++; }
  char* slot(unsigned thread, unsigned turn) {
    return reinterpret_cast<char*>(&slots_[2 * thread + turn % 2]);
  }
  void* shared(int line, size_t bytes) {
    const std::lock_guard lock(mutex_);
    size_t of_static = line ? bytes : 0;
    for (const Shared& part : shared_) {
      if (part.line == line && (part.bytes == bytes || !line)) return part.memory.get();
      if (part.line) of_static += part.bytes;
    }
    if (of_static > MAX_STATIC_SHARED || of_static + launch_.shared > MAX_SHARED)
      give_up("more than 48 KiB of static or 227 KiB of shared memory");
    return add(line, bytes);
  }

 private:
  struct Shared {
    int line;  // of the declaration; 0 is dynamic
    size_t bytes;
    std::unique_ptr<char[]> memory;
  };

  void* add(int line, size_t bytes) {
    shared_.push_back({line, bytes, std::unique_ptr<char[]>(new char[bytes])});
    poison(shared_.back().memory.get(), bytes);
    return shared_.back().memory.get();
  }
  void run_thread(size_t number, unsigned thread) {
    current_ = this;
    threadIdx = launch_.thread_index(thread);
    blockIdx = launch_.block_index(number);
    blockDim = launch_.block;
    gridDim = launch_.grid;
    launch_.kernel.call(launch_.args);
    warp().leave();
    all_.leave();
  }

  const Launch& launch_;
  Barrier all_;
  std::vector<std::unique_ptr<Barrier>> warps_;
  std::mutex mutex_;
  std::vector<Shared> shared_;
  std::vector<unsigned long long> slots_;
  std::vector<unsigned> turn_;
  inline static thread_local constinit Block* current_ = nullptr;
};

void* dynamic_shared() { return Block::current().shared(0, 0); }
void* static_shared(int line, size_t bytes) { return Block::current().shared(line, bytes); }
void block_barrier(const Place& where) { Block::current().all().wait(where); }
void warp_barrier(const Place& where) { Block::current().warp().wait(where); }
unsigned exchange_turn() { return Block::current().turn(); }
char* exchange_slot(unsigned thread, unsigned turn) {
  return Block::current().slot(thread, turn);
}
void fail(const char* reason, const Place& where) {
  give_up(reason + std::string(" at ") + text(where));
}

// Nothing orders the workers among each other, so that a race between two blocks shows.
inline void run(const Launch& launch, unsigned workers) {
  std::vector<std::thread> threads;
  for (unsigned worker = 0; worker < workers; ++worker)
    threads.emplace_back([&launch, worker, workers] {
      for (size_t block = worker; block < launch.blocks(); block += workers)
        Block(launch).run(block);
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace tn_emulator
