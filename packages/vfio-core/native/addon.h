// The native half of vfio-core/linux: one function per system call, and no decision about any of them. What a call is
// for, and what its bytes mean, is TypeScript.
//
// Every function returns its result or a negative errno; a wrong argument type throws a TypeError. There is no state in
// globals but the SIGBUS table (sigbus.cc): each environment (the main thread, each Worker) has an Instance.

#pragma once

#include <napi.h>
#include <uv.h>

#include <cerrno>
#include <cstdint>
#include <vector>

#include "exit-list.h"

namespace vfio {

struct Mapping;
struct Watch;

// Things that JavaScript names by a small number. A number that names nothing gives nullptr, so a stale one is harmless.
template <typename T>
class Slots {
 public:
  int Add(T* item) {
    if (!free_.empty()) {
      int slot = free_.back();
      free_.pop_back();
      items_[slot] = item;
      return slot;
    }
    items_.push_back(item);
    return static_cast<int>(items_.size()) - 1;
  }
  T* At(int slot) const {
    return slot >= 0 && static_cast<size_t>(slot) < items_.size() ? items_[slot] : nullptr;
  }
  void Remove(int slot) {
    items_[slot] = nullptr;
    free_.push_back(slot);
  }
  int Size() const { return static_cast<int>(items_.size()); }

 private:
  std::vector<T*> items_;
  std::vector<int> free_;
};

// What one environment holds.
class Instance {
 public:
  static Instance* Of(napi_env env);
  explicit Instance(napi_env env) : env(env) {}

  napi_env const env;
  Slots<Mapping> mappings;
  Slots<Watch> watches;
  ExitList* exits = nullptr;

  // Handles of the event loop that are not closed to the end yet; the instance outlives them.
  int open_handles = 0;
  void HandleClosed();

  static void OnCleanup(napi_async_cleanup_hook_handle hook, void* instance);

 private:
  void EndIfIdle();
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
};

// A result of a system call, with the error as a negative number.
inline int64_t Result(int64_t value) { return value < 0 ? -errno : value; }
inline Napi::Value Number(Napi::Env env, int64_t value) {
  return Napi::Number::New(env, static_cast<double>(value));
}

template <Napi::Function::Callback function>
void Export(Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<function>(exports.Env(), name));
}

// Each adds its functions to the addon's exports.
void ExportFiles(Napi::Object exports);
void ExportIoctl(Napi::Object exports);
void ExportMemory(Napi::Object exports);
void ExportEvents(Napi::Object exports);
void ExportExitList(Napi::Object exports);

// At the end of the environment, or in an exit step: no JavaScript runs any more.
void UnmapAll(Instance* instance);
void UnmapAt(Instance* instance, uintptr_t address, size_t length);
void CloseWatches(Instance* instance);

}  // namespace vfio
