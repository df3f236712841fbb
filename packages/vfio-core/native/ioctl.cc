// ioctl(2), on this thread or on another. The kernel works on a copy of the caller's bytes, in which addresses and
// descriptors have been filled in; what it wrote is copied back, but for those places.

#include <sys/ioctl.h>

#include <cstdlib>
#include <cstring>

#include "addon.h"
#include "arguments.h"

namespace vfio {
namespace {

// Bytes that a kernel could touch behind a structure that is too short for its request.
constexpr size_t kSlack = 256;

class Ioctl {
 public:
  ~Ioctl() {
    if (copy_ != small_) std::free(copy_);
  }

  // Takes (fd, request, argument?, places?). False leaves an exception.
  bool Prepare(const Napi::CallbackInfo& info);
  // On any thread.
  void Run() { result_ = Result(ioctl(fd_, request_, copy_ != nullptr ? copy_ : reinterpret_cast<void*>(number_))); }
  // On the JavaScript thread.
  void CopyBack(napi_env env, napi_value argument);
  int64_t result() const { return result_; }
  // Everything that must stay alive during the call.
  void Keep(Napi::Array kept, const Napi::Value& argument) const {
    kept.Set(0u, argument);
    for (const Place& place : places_) {
      if (place.width == 8) kept.Set(kept.Length(), Napi::Value(kept.Env(), place.bytes));
    }
  }

 private:
  struct Place {
    size_t at;
    size_t width;
    uint64_t value;
    napi_value bytes;
  };
  bool ReadPlaces(Napi::Env env, const Napi::Value& places, const char* list, const char* field, size_t width);

  int fd_ = -1;
  uint32_t request_ = 0;
  uintptr_t number_ = 0;
  uint8_t* copy_ = nullptr;
  int64_t result_ = -ECANCELED;  // what stays where an ending environment drops the call
  std::vector<Place> places_;
  uint8_t small_[1024];
};

bool Fail(Napi::Env env, const char* message) {
  if (!env.IsExceptionPending()) napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return false;
}

bool Ioctl::ReadPlaces(Napi::Env env, const Napi::Value& places, const char* list, const char* field, size_t width) {
  Napi::Value value = places.As<Napi::Object>().Get(list);
  if (env.IsExceptionPending()) return false;
  if (value.IsUndefined()) return true;
  if (!value.IsArray()) return Fail(env, "pointers and fds of places must be arrays");
  Napi::Array items = value.As<Napi::Array>();
  for (uint32_t i = 0; i < items.Length(); i++) {
    Napi::Value item = items.Get(i);
    if (env.IsExceptionPending() || !item.IsObject()) return Fail(env, "a place must be an object");
    Napi::Value at = item.As<Napi::Object>().Get("at");
    if (env.IsExceptionPending()) return false;
    Napi::Value content = item.As<Napi::Object>().Get(field);
    if (env.IsExceptionPending()) return false;
    int64_t offset = 0;
    int64_t fd = 0;
    Bytes bytes;
    if (!IntegerOf(env, at, &offset) || offset < 0) return Fail(env, "at of a place must be a whole number");
    if (width == 8 && !BytesOf(env, content, &bytes)) return Fail(env, "bytes of a pointer must be a Uint8Array");
    if (width == 4 && !IntegerOf(env, content, &fd)) return Fail(env, "fd of a place must be a whole number");
    places_.push_back({static_cast<size_t>(offset), width, static_cast<uint64_t>(fd), content});
  }
  return true;
}

bool Ioctl::Prepare(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(info);
  fd_ = arguments.Int32(0, "fd");
  request_ = arguments.Uint32(1, "request");
  if (!arguments.ok()) return false;
  Napi::Value places = info[3];
  if (!places.IsUndefined()) {
    if (!places.IsObject()) return Fail(env, "places must be an object");
    if (!ReadPlaces(env, places, "pointers", "bytes", 8)) return false;
    if (!ReadPlaces(env, places, "fds", "fd", 4)) return false;
  }
  if (info[2].IsUndefined() || info[2].IsNumber()) {
    if (!places_.empty()) return Fail(env, "places need an argument of bytes");
    if (info[2].IsNumber()) number_ = static_cast<uintptr_t>(arguments.Integer(2, "argument"));
    return arguments.ok();
  }
  // From here on no JavaScript runs (a getter could unmap what an address was taken of).
  Bytes bytes;
  if (!BytesOf(env, info[2], &bytes)) return Fail(env, "argument must be a number or a Uint8Array");
  size_t size = bytes.length + kSlack;
  copy_ = size <= sizeof(small_) ? small_ : static_cast<uint8_t*>(std::malloc(size));
  if (copy_ == nullptr) std::abort();
  if (bytes.length > 0) std::memcpy(copy_, bytes.data, bytes.length);
  std::memset(copy_ + bytes.length, 0, kSlack);
  for (Place& place : places_) {
    if (place.at > bytes.length || bytes.length - place.at < place.width) {
      napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "a place lies outside the argument");
      return false;
    }
    if (place.width == 8) {
      Bytes target;
      BytesOf(env, place.bytes, &target);
      place.value = reinterpret_cast<uintptr_t>(target.data);
    }
    std::memcpy(copy_ + place.at, &place.value, place.width);
  }
  return true;
}

void Ioctl::CopyBack(napi_env env, napi_value argument) {
  Bytes bytes;
  if (copy_ == nullptr || !BytesOf(env, argument, &bytes) || bytes.length == 0) return;
  for (const Place& place : places_) {
    if (place.at + place.width <= bytes.length) std::memcpy(copy_ + place.at, bytes.data + place.at, place.width);
  }
  std::memcpy(bytes.data, copy_, bytes.length);
}

// ioctl(fd, request, argument?, places?)
Napi::Value IoctlNow(const Napi::CallbackInfo& info) {
  Ioctl call;
  if (!call.Prepare(info)) return {};
  call.Run();
  call.CopyBack(info.Env(), info[2]);
  return Number(info.Env(), call.result());
}

// A call on its way through the thread pool.
struct Pending {
  Ioctl call;
  napi_deferred deferred = nullptr;
  napi_async_work work = nullptr;
  // An array of the argument and all that it points to.
  napi_ref kept = nullptr;
};

void Execute(napi_env, void* data) { static_cast<Pending*>(data)->call.Run(); }

// Statuses are not looked at: when the environment is ending, nothing here can be done and nobody is left to be told.
void Complete(napi_env env, napi_status, void* data) {
  Pending* pending = static_cast<Pending*>(data);
  napi_value kept;
  napi_value argument;
  napi_value result;
  if (napi_get_reference_value(env, pending->kept, &kept) == napi_ok && kept != nullptr &&
      napi_get_element(env, kept, 0, &argument) == napi_ok) {
    pending->call.CopyBack(env, argument);
  }
  if (napi_create_double(env, static_cast<double>(pending->call.result()), &result) == napi_ok) {
    napi_resolve_deferred(env, pending->deferred, result);
  }
  napi_delete_reference(env, pending->kept);
  napi_delete_async_work(env, pending->work);
  delete pending;
}

// ioctlAsync(fd, request, argument?, places?): a promise
Napi::Value IoctlLater(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Pending* pending = new Pending;
  if (!pending->call.Prepare(info)) {
    delete pending;
    return {};
  }
  Napi::Array kept = Napi::Array::New(env);
  pending->call.Keep(kept, info[2]);
  napi_create_reference(env, kept, 1, &pending->kept);
  napi_value promise;
  napi_create_promise(env, &pending->deferred, &promise);
  napi_create_async_work(env, nullptr, Napi::String::New(env, "vfio-core:ioctl"), Execute, Complete, pending,
                         &pending->work);
  napi_queue_async_work(env, pending->work);
  return Napi::Value(env, promise);
}

}  // namespace

void ExportIoctl(Napi::Object exports) {
  Export<IoctlNow>(exports, "ioctl");
  Export<IoctlLater>(exports, "ioctlAsync");
}

}  // namespace vfio
