// Steps that put a device to rest when no JavaScript runs any more: at process exit and at a Worker's end.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace vfio {

class Instance;

struct ExitStep {
  enum class Call { kPwrite, kIoctl, kMunmap, kUnlink, kClose };

  Call call;
  int phase = 0;
  int id = 0;
  int fd = -1;
  uint32_t request = 0;
  int64_t offset = 0;
  uintptr_t address = 0;
  size_t length = 0;
  // Bytes to write, the structure of an ioctl, or a path with its NUL.
  std::vector<uint8_t> bytes;

  void Play(Instance* instance);
  ExitStep* next = nullptr;
};

// One environment's steps. Played at the end of the environment, or at exit(3), whichever comes first: Node ends a process
// without ending its environment on process.exit() and after an uncaught exception.
class ExitList {
 public:
  explicit ExitList(Instance* instance) : instance_(instance) {}

  // In order of phase; within a phase, last added first.
  int Add(ExitStep* step);
  void Cancel(int id);
  // Plays every step that was not played yet.
  void Play();
  // The instance is about to go. The list deletes itself, now or never: exit(3) cannot be told to forget it.
  void Retire();

 private:
  static void AtExit(void* list);
  void Lock();
  void Unlock();

  Instance* instance_;
  ExitStep* first_ = nullptr;
  int last_id_ = 0;
  bool at_exit_ = false;
  // exit(3) may be called in another thread than the environment's.
  std::atomic<bool> locked_{false};
};

}  // namespace vfio
