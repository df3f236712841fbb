#include "exit-list.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstring>

#include "addon.h"
#include "arguments.h"

namespace vfio {

extern "C" int __cxa_atexit(void (*function)(void*), void* argument, void* library);
extern "C" void* __dso_handle;

void ExitList::Lock() {
  while (locked_.exchange(true, std::memory_order_acquire)) sched_yield();
}

void ExitList::Unlock() { locked_.store(false, std::memory_order_release); }

void ExitList::AtExit(void* list) { static_cast<ExitList*>(list)->Play(); }

int ExitList::Add(ExitStep* step) {
  Lock();
  if (!at_exit_) {
    at_exit_ = true;
    // Unlike atexit(3) it takes an argument, and so needs no global.
    __cxa_atexit(AtExit, this, &__dso_handle);
  }
  ExitStep** place = &first_;
  while (*place != nullptr && (*place)->phase < step->phase) place = &(*place)->next;
  step->next = *place;
  *place = step;
  int id = step->id = ++last_id_;
  Unlock();
  return id;
}

void ExitList::Cancel(int id) {
  Lock();
  for (ExitStep** place = &first_; *place != nullptr; place = &(*place)->next) {
    if ((*place)->id != id) continue;
    ExitStep* step = *place;
    *place = step->next;
    delete step;
    break;
  }
  Unlock();
}

void ExitList::Play() {
  Lock();
  while (first_ != nullptr) {
    ExitStep* step = first_;
    first_ = step->next;
    step->Play(instance_);
    delete step;
  }
  Unlock();
}

void ExitList::Retire() {
  instance_ = nullptr;
  if (!at_exit_) delete this;
}

// A step that fails does not stop the others: there is nobody to tell.
void ExitStep::Play(Instance* instance) {
  ssize_t ignored = 0;
  switch (call) {
    case Call::kPwrite:
      ignored = pwrite(fd, bytes.data(), bytes.size(), offset);
      break;
    case Call::kIoctl:
      ignored = ioctl(fd, request, bytes.data());
      break;
    case Call::kMunmap:
      UnmapAt(instance, address, length);
      break;
    case Call::kUnlink:
      ignored = unlink(reinterpret_cast<const char*>(bytes.data()));
      break;
    case Call::kClose:
      ignored = close(fd);
      break;
  }
  static_cast<void>(ignored);
}

static void Keep(ExitStep* step, const void* bytes, size_t length) {
  step->bytes.resize(length);
  if (length > 0) std::memcpy(step->bytes.data(), bytes, length);
}

static Napi::Value Add(const Napi::CallbackInfo& info, const Arguments& arguments, ExitStep* step) {
  if (arguments.ok()) return Number(info.Env(), Instance::Of(info.Env())->exits->Add(step));
  delete step;
  return {};
}

// exitPwrite(phase, fd, bytes, offset): a handle for cancelExit, as from all of these
static Napi::Value ExitPwrite(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  ExitStep* step = new ExitStep{ExitStep::Call::kPwrite};
  step->phase = arguments.Int32(0, "phase");
  step->fd = arguments.Int32(1, "fd");
  Bytes bytes = arguments.Uint8Array(2, "bytes");
  step->offset = arguments.Integer(3, "offset");
  Keep(step, bytes.data, bytes.length);
  return Add(info, arguments, step);
}

// exitIoctl(phase, fd, request, bytes)
static Napi::Value ExitIoctl(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  ExitStep* step = new ExitStep{ExitStep::Call::kIoctl};
  step->phase = arguments.Int32(0, "phase");
  step->fd = arguments.Int32(1, "fd");
  step->request = arguments.Uint32(2, "request");
  Bytes bytes = arguments.Uint8Array(3, "bytes");
  Keep(step, bytes.data, bytes.length);
  return Add(info, arguments, step);
}

// exitMunmap(phase, address, length)
static Napi::Value ExitMunmap(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  ExitStep* step = new ExitStep{ExitStep::Call::kMunmap};
  step->phase = arguments.Int32(0, "phase");
  step->address = arguments.Address(1, "address");
  step->length = static_cast<size_t>(arguments.Integer(2, "length"));
  return Add(info, arguments, step);
}

// exitUnlink(phase, path)
static Napi::Value ExitUnlink(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  ExitStep* step = new ExitStep{ExitStep::Call::kUnlink};
  Arguments::Text path;
  step->phase = arguments.Int32(0, "phase");
  arguments.String(1, "path", &path);
  Keep(step, path.text, std::strlen(path.text) + 1);
  return Add(info, arguments, step);
}

// exitClose(phase, fd)
static Napi::Value ExitClose(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  ExitStep* step = new ExitStep{ExitStep::Call::kClose};
  step->phase = arguments.Int32(0, "phase");
  step->fd = arguments.Int32(1, "fd");
  return Add(info, arguments, step);
}

// cancelExit(handle)
static Napi::Value CancelExit(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int handle = arguments.Int32(0, "handle");
  if (arguments.ok()) Instance::Of(info.Env())->exits->Cancel(handle);
  return {};
}

void ExportExitList(Napi::Object exports) {
  Export<ExitPwrite>(exports, "exitPwrite");
  Export<ExitIoctl>(exports, "exitIoctl");
  Export<ExitMunmap>(exports, "exitMunmap");
  Export<ExitUnlink>(exports, "exitUnlink");
  Export<ExitClose>(exports, "exitClose");
  Export<CancelExit>(exports, "cancelExit");
}

}  // namespace vfio
