// The one thing with process-wide state, because a signal's handler is process-wide.
//
// SIGBUS would kill Node, and a handler cannot jump out of compiled JavaScript. So it lays a private page of 0xFF over
// the page that was touched and returns: the load runs again and reads all-ones, as from a missing device. All in here
// that the handler uses is async-signal-safe: atomics without locks, and plain system calls.
//
// Two copies of this addon in one process each have their own table and handler; each hands on what is not its own. The
// handler is never taken out (another may have been chained to it), and the addon never unloaded (-z nodelete).

#include "sigbus.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace vfio {

// Free while `length` is 0. A slot is claimed with `claimed`, and readable once `length` is set.
struct GuardedRange {
  std::atomic<bool> claimed;
  std::atomic<uintptr_t> start;
  std::atomic<size_t> length;
  std::atomic<bool> faulted;
};

namespace {

// The table grows by blocks, which are never freed: the handler may be reading them.
struct Block {
  GuardedRange ranges[64];
  std::atomic<Block*> next;
};

Block first_block;
struct sigaction previous_action;
size_t page_size;
enum : int { kNotInstalled, kInstalling, kInstalled };
std::atomic<int> installed;

GuardedRange* Find(uintptr_t address) {
  for (Block* block = &first_block; block != nullptr; block = block->next.load(std::memory_order_acquire)) {
    for (GuardedRange& range : block->ranges) {
      size_t length = range.length.load(std::memory_order_acquire);
      if (length != 0 && address - range.start.load(std::memory_order_acquire) < length) return &range;
    }
  }
  return nullptr;
}

// A page filled elsewhere and then moved into place at once, so that no other thread ever sees a page of zeros.
bool LayOnes(uintptr_t page) {
  void* fresh = mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (fresh == MAP_FAILED) return false;
  std::memset(fresh, 0xFF, page_size);
  void* target = reinterpret_cast<void*>(page);
  if (mremap(fresh, page_size, page_size, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target) return true;
  munmap(fresh, page_size);
  return false;
}

// What would have happened without us.
void HandOn(int signal, siginfo_t* info, void* context) {
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
    return;
  }
  bool sent = info->si_code <= 0;  // by kill(2), and not by a touch of memory
  if (previous_action.sa_handler == SIG_IGN && sent) return;
  if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal);
    return;
  }
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  sigaction(signal, &standard, nullptr);
  // A touch of memory is repeated on return, and now ends the process with the right core dump.
  if (sent) raise(signal);
}

void OnSigbus(int signal, siginfo_t* info, void* context) {
  int saved_errno = errno;
  uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  GuardedRange* range = info->si_code > 0 ? Find(address) : nullptr;
  if (range != nullptr && LayOnes(address & ~(page_size - 1))) {
    range->faulted.store(true, std::memory_order_release);
  } else {
    HandOn(signal, info, context);
  }
  errno = saved_errno;
}

void InstallOnce() {
  int expected = kNotInstalled;
  if (installed.compare_exchange_strong(expected, kInstalling)) {
    page_size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    // Known before the handler can run.
    sigaction(SIGBUS, nullptr, &previous_action);
    struct sigaction action = {};
    action.sa_sigaction = OnSigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, nullptr);
    installed.store(kInstalled, std::memory_order_release);
  }
  while (installed.load(std::memory_order_acquire) != kInstalled) sched_yield();
}

GuardedRange* Claim() {
  for (Block* block = &first_block;;) {
    for (GuardedRange& range : block->ranges) {
      bool expected = false;
      if (range.claimed.compare_exchange_strong(expected, true)) return &range;
    }
    Block* next = block->next.load(std::memory_order_acquire);
    if (next == nullptr) {
      Block* fresh = new Block();
      if (block->next.compare_exchange_strong(next, fresh)) {
        next = fresh;
      } else {
        delete fresh;  // another thread was first, and `next` is its block
      }
    }
    block = next;
  }
}

}  // namespace

GuardedRange* Guard(void* start, size_t length) {
  InstallOnce();
  GuardedRange* range = Claim();
  range->faulted.store(false, std::memory_order_relaxed);
  range->start.store(reinterpret_cast<uintptr_t>(start), std::memory_order_relaxed);
  range->length.store(length, std::memory_order_release);
  return range;
}

void Unguard(GuardedRange* range) {
  range->length.store(0, std::memory_order_release);
  range->claimed.store(false, std::memory_order_release);
}

bool HasFaulted(const GuardedRange* range) { return range->faulted.load(std::memory_order_acquire); }

void SetFaulted(GuardedRange* range, bool faulted) { range->faulted.store(faulted, std::memory_order_release); }

}  // namespace vfio
