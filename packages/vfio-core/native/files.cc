// Descriptors: files, memory files, eventfds, and a blocking wait.

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "addon.h"
#include "arguments.h"

namespace vfio {

// open(path, flags, mode)
static Napi::Value Open(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  Arguments::Text path;
  arguments.String(0, "path", &path);
  int flags = arguments.Int32(1, "flags");
  int mode = arguments.Int32(2, "mode");
  if (!arguments.ok()) return {};
  return Number(info.Env(), Result(open(path.text, flags, mode)));
}

// close(fd)
static Napi::Value Close(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int fd = arguments.Int32(0, "fd");
  if (!arguments.ok()) return {};
  return Number(info.Env(), Result(close(fd)));
}

// pread(fd, into, offset)
static Napi::Value Pread(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int fd = arguments.Int32(0, "fd");
  Bytes into = arguments.Uint8Array(1, "into");
  int64_t offset = arguments.Integer(2, "offset");
  if (!arguments.ok()) return {};
  return Number(info.Env(), Result(pread(fd, into.data, into.length, offset)));
}

// pwrite(fd, from, offset)
static Napi::Value Pwrite(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int fd = arguments.Int32(0, "fd");
  Bytes from = arguments.Uint8Array(1, "from");
  int64_t offset = arguments.Integer(2, "offset");
  if (!arguments.ok()) return {};
  return Number(info.Env(), Result(pwrite(fd, from.data, from.length, offset)));
}

// memfd(name, hugePageBits): 0 for ordinary pages, else the base-2 logarithm of the page's size
static Napi::Value Memfd(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  Arguments::Text name;
  arguments.String(0, "name", &name);
  uint32_t bits = arguments.Uint32(1, "hugePageBits");
  if (!arguments.ok()) return {};
  uint32_t flags = MFD_CLOEXEC | (bits == 0 ? 0 : MFD_HUGETLB | bits << MFD_HUGE_SHIFT);
  return Number(info.Env(), Result(syscall(SYS_memfd_create, name.text, flags)));
}

// truncate(fd, bytes)
static Napi::Value Truncate(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int fd = arguments.Int32(0, "fd");
  int64_t bytes = arguments.Integer(1, "bytes");
  if (!arguments.ok()) return {};
  return Number(info.Env(), Result(ftruncate(fd, bytes)));
}

// punchHole(fd, offset, length)
static Napi::Value PunchHole(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int fd = arguments.Int32(0, "fd");
  int64_t offset = arguments.Integer(1, "offset");
  int64_t length = arguments.Integer(2, "length");
  if (!arguments.ok()) return {};
  return Number(info.Env(), Result(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)));
}

// eventfd(initial)
static Napi::Value Eventfd(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  uint32_t initial = arguments.Uint32(0, "initial");
  if (!arguments.ok()) return {};
  return Number(info.Env(), Result(eventfd(initial, EFD_NONBLOCK | EFD_CLOEXEC)));
}

// eventfdRead(fd)
static Napi::Value EventfdRead(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int fd = arguments.Int32(0, "fd");
  if (!arguments.ok()) return {};
  uint64_t count = 0;
  ssize_t size = read(fd, &count, sizeof(count));
  if (size >= 0 && size != sizeof(count)) return Number(info.Env(), -EINVAL);
  return size < 0 ? Number(info.Env(), -errno) : Napi::Number::New(info.Env(), static_cast<double>(count));
}

// eventfdWrite(fd, count)
static Napi::Value EventfdWrite(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int fd = arguments.Int32(0, "fd");
  uint64_t count = static_cast<uint64_t>(arguments.Integer(1, "count"));
  if (!arguments.ok()) return {};
  ssize_t size = write(fd, &count, sizeof(count));
  return Number(info.Env(), size < 0 ? -errno : 0);
}

static int64_t Milliseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

// poll(fd, timeout): blocks this thread. A signal that a handler took does not end the wait.
static Napi::Value Poll(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int fd = arguments.Int32(0, "fd");
  int timeout = arguments.Int32(1, "timeout");
  if (!arguments.ok()) return {};
  if (fd < 0) return Number(info.Env(), -EBADF);  // poll(2) would skip it, and wait for nothing
  int64_t end = Milliseconds() + timeout;
  pollfd wanted = {fd, POLLIN, 0};
  int ready;
  while ((ready = poll(&wanted, 1, timeout)) < 0 && errno == EINTR) {
    if (timeout < 0) continue;
    int64_t left = end - Milliseconds();
    timeout = left > 0 ? static_cast<int>(left) : 0;
  }
  if (ready > 0 && (wanted.revents & POLLNVAL) != 0) return Number(info.Env(), -EBADF);
  return Number(info.Env(), Result(ready));
}

static Napi::Value PageSize(const Napi::CallbackInfo& info) {
  return Number(info.Env(), sysconf(_SC_PAGESIZE));
}

void ExportFiles(Napi::Object exports) {
  Export<Open>(exports, "open");
  Export<Close>(exports, "close");
  Export<Pread>(exports, "pread");
  Export<Pwrite>(exports, "pwrite");
  Export<Memfd>(exports, "memfd");
  Export<Truncate>(exports, "truncate");
  Export<PunchHole>(exports, "punchHole");
  Export<Eventfd>(exports, "eventfd");
  Export<EventfdRead>(exports, "eventfdRead");
  Export<EventfdWrite>(exports, "eventfdWrite");
  Export<Poll>(exports, "poll");
  Export<PageSize>(exports, "pageSize");
}

}  // namespace vfio
