// Mappings, handed to JavaScript as ArrayBuffers over memory that is not its own.
//
// A buffer is kept until its mapping ends, and is detached then, so that a later access never touches freed memory. One
// that was moved away by then (`buffer.transfer()`) may still be in use under another name: it stays mapped until the
// environment ends.

#include <sys/mman.h>

#include "addon.h"
#include "arguments.h"
#include "sigbus.h"

namespace vfio {

struct Mapping {
  void* start;
  size_t length;
  // nullptr for memory that is not a device's
  GuardedRange* guard;
  // What a device's part was mapped with
  int protection;
  int fd;
  int64_t offset;
  napi_ref buffer;
};

static void Unmap(Mapping* mapping) {
  if (mapping->guard != nullptr) Unguard(mapping->guard);
  munmap(mapping->start, mapping->length);
  delete mapping;
}

// { handle, buffer, address }; a negative errno; undefined where this runtime allows no memory of ours in its buffers.
static Napi::Value Map(Napi::Env env, size_t length, int protection, int flags, int fd, int64_t offset, bool device) {
  void* start = mmap(nullptr, length, protection, flags, fd, offset);
  if (start == MAP_FAILED) return Number(env, -errno);
  napi_value buffer;
  napi_status status = napi_create_external_arraybuffer(env, start, length, nullptr, nullptr, &buffer);
  if (status != napi_ok) {
    munmap(start, length);
    if (status == napi_no_external_buffers_allowed) return env.Undefined();
    if (env.IsExceptionPending()) env.GetAndClearPendingException();
    return Number(env, -ENOMEM);
  }
  Mapping* mapping = new Mapping{start, length, device ? Guard(start, length) : nullptr, protection, fd, offset, nullptr};
  napi_create_reference(env, buffer, 1, &mapping->buffer);
  Napi::Object result = Napi::Object::New(env);
  result.Set("handle", Number(env, Instance::Of(env)->mappings.Add(mapping)));
  result.Set("buffer", Napi::Value(env, buffer));
  result.Set("address", Napi::BigInt::New(env, static_cast<uint64_t>(reinterpret_cast<uintptr_t>(start))));
  return result;
}

// mapDevice(fd, offset, length, protection)
static Napi::Value MapDevice(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int fd = arguments.Int32(0, "fd");
  int64_t offset = arguments.Integer(1, "offset");
  int64_t length = arguments.Integer(2, "length");
  int protection = arguments.Int32(3, "protection");
  if (!arguments.ok()) return {};
  return Map(info.Env(), static_cast<size_t>(length), protection, MAP_SHARED, fd, offset, true);
}

// mapAnonymous(length)
static Napi::Value MapAnonymous(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int64_t length = arguments.Integer(0, "length");
  if (!arguments.ok()) return {};
  return Map(info.Env(), static_cast<size_t>(length), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, false);
}

// mapFile(fd, offset, length)
static Napi::Value MapFile(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int fd = arguments.Int32(0, "fd");
  int64_t offset = arguments.Integer(1, "offset");
  int64_t length = arguments.Integer(2, "length");
  if (!arguments.ok()) return {};
  return Map(info.Env(), static_cast<size_t>(length), PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset, false);
}

// unmap(handle): detaches the buffer, then unmaps. A handle that names nothing is let pass.
static Napi::Value UnmapOne(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(info);
  int handle = arguments.Int32(0, "handle");
  if (!arguments.ok()) return {};
  Instance* instance = Instance::Of(env);
  Mapping* mapping = instance->mappings.At(handle);
  if (mapping == nullptr || mapping->buffer == nullptr) return {};
  napi_value buffer;
  bool moved = true;
  bool detached = false;
  napi_get_reference_value(env, mapping->buffer, &buffer);
  napi_is_detached_arraybuffer(env, buffer, &moved);
  if (!moved) {
    napi_detach_arraybuffer(env, buffer);
    napi_is_detached_arraybuffer(env, buffer, &detached);
  }
  napi_delete_reference(env, mapping->buffer);
  mapping->buffer = nullptr;
  if (!detached) return {};
  instance->mappings.Remove(handle);
  Unmap(mapping);
  return {};
}

// faulted(handle)
static Napi::Value Faulted(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int handle = arguments.Int32(0, "handle");
  if (!arguments.ok()) return {};
  Mapping* mapping = Instance::Of(info.Env())->mappings.At(handle);
  bool faulted = mapping != nullptr && mapping->guard != nullptr && HasFaulted(mapping->guard);
  return Napi::Boolean::New(info.Env(), faulted);
}

// remap(handle): the device's part again, over whatever lies at its address by now.
//
// Mapped elsewhere first and then moved into place: mmap(2) with MAP_FIXED takes the old pages away before it asks the
// device, and would leave a hole where the device refuses.
static Napi::Value Remap(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(info);
  int handle = arguments.Int32(0, "handle");
  if (!arguments.ok()) return {};
  Mapping* mapping = Instance::Of(env)->mappings.At(handle);
  if (mapping == nullptr || mapping->guard == nullptr) return Number(env, -EINVAL);
  size_t length = mapping->length;
  void* fresh = mmap(nullptr, length, mapping->protection, MAP_SHARED, mapping->fd, mapping->offset);
  if (fresh == MAP_FAILED) return Number(env, -errno);
  // The mark first: a touch by another thread that faults meanwhile must not lose its own. At worst a mark stays that
  // means nothing any more.
  bool faulted = HasFaulted(mapping->guard);
  SetFaulted(mapping->guard, false);
  if (mremap(fresh, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, mapping->start) == mapping->start) {
    return Number(env, 0);
  }
  int error = errno;
  if (faulted) SetFaulted(mapping->guard, true);
  munmap(fresh, length);
  return Number(env, -error);
}

// addressOf(bytes)
static Napi::Value AddressOf(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  Bytes bytes = arguments.Uint8Array(0, "bytes");
  if (!arguments.ok()) return {};
  return Napi::BigInt::New(info.Env(), static_cast<uint64_t>(reinterpret_cast<uintptr_t>(bytes.data)));
}

// Only what this environment mapped, and only once: by now another thread may have been given the same addresses.
void UnmapAt(Instance* instance, uintptr_t address, size_t length) {
  for (int i = 0; i < instance->mappings.Size(); i++) {
    Mapping* mapping = instance->mappings.At(i);
    if (mapping == nullptr || reinterpret_cast<uintptr_t>(mapping->start) != address) continue;
    if (mapping->length != length) continue;
    instance->mappings.Remove(i);
    Unmap(mapping);
    return;
  }
}

void UnmapAll(Instance* instance) {
  for (int i = 0; i < instance->mappings.Size(); i++) {
    Mapping* mapping = instance->mappings.At(i);
    if (mapping == nullptr) continue;
    instance->mappings.Remove(i);
    Unmap(mapping);
  }
}

void ExportMemory(Napi::Object exports) {
  Export<MapDevice>(exports, "mapDevice");
  Export<MapAnonymous>(exports, "mapAnonymous");
  Export<MapFile>(exports, "mapFile");
  Export<UnmapOne>(exports, "unmap");
  Export<Faulted>(exports, "faulted");
  Export<Remap>(exports, "remap");
  Export<AddressOf>(exports, "addressOf");
}

}  // namespace vfio
