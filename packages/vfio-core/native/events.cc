// Eventfds in the environment's own event loop (the default loop would be the main thread's, also for a Worker).

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "addon.h"
#include "arguments.h"

namespace vfio {

struct Watch {
  Instance* instance;
  int slot;
  // A descriptor of our own for the same eventfd: the caller may close theirs, and watch one eventfd twice.
  int fd;
  uv_poll_t handle;
  napi_async_context context;
  napi_ref callback;
  // The receiver of the callback; there must be one.
  napi_ref receiver;
};

static void OnReadable(uv_poll_t* handle, int status, int events) {
  Watch* watch = static_cast<Watch*>(handle->data);
  if (status < 0) {
    uv_poll_stop(handle);
    return;
  }
  // Taken here, not in JavaScript: a callback that throws would otherwise be called again for ever.
  uint64_t count = 0;
  if (read(watch->fd, &count, sizeof(count)) != sizeof(count)) return;
  Napi::Env env(watch->instance->env);
  Napi::HandleScope scope(env);
  napi_value receiver;
  napi_value callback;
  napi_value argument;
  napi_value result;
  napi_get_reference_value(env, watch->receiver, &receiver);
  napi_get_reference_value(env, watch->callback, &callback);
  napi_create_double(env, static_cast<double>(count), &argument);
  // `watch` may be closed in the call.
  if (napi_make_callback(env, watch->context, receiver, callback, 1, &argument, &result) != napi_pending_exception) return;
  napi_value error;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

static void OnClosed(uv_handle_t* handle) {
  Watch* watch = static_cast<Watch*>(handle->data);
  Instance* instance = watch->instance;
  delete watch;
  instance->HandleClosed();
}

static void CloseWatch(Watch* watch) {
  napi_env env = watch->instance->env;
  watch->instance->watches.Remove(watch->slot);
  uv_poll_stop(&watch->handle);
  close(watch->fd);
  napi_async_destroy(env, watch->context);
  napi_delete_reference(env, watch->callback);
  napi_delete_reference(env, watch->receiver);
  uv_close(reinterpret_cast<uv_handle_t*>(&watch->handle), OnClosed);
}

void CloseWatches(Instance* instance) {
  for (int i = 0; i < instance->watches.Size(); i++) {
    if (Watch* watch = instance->watches.At(i)) CloseWatch(watch);
  }
}

// watch(fd, onCount): a handle
static Napi::Value WatchEventfd(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(info);
  int fd = arguments.Int32(0, "fd");
  Napi::Function callback = arguments.Function(1, "onCount");
  if (!arguments.ok()) return {};
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return Number(env, -EINVAL);
  int own = static_cast<int>(syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0));  // fcntl() itself asks for GLIBC 2.28
  if (own < 0) return Number(env, -errno);

  Instance* instance = Instance::Of(env);
  Watch* watch = new Watch{instance, -1, own};
  watch->handle.data = watch;
  // Errors of libuv are negative errnos on Linux.
  int status = uv_poll_init(loop, &watch->handle, own);
  if (status < 0) {
    close(own);
    delete watch;
    return Number(env, status);
  }
  Napi::Object receiver = Napi::Object::New(env);
  napi_async_init(env, receiver, Napi::String::New(env, "vfio-core:watch"), &watch->context);
  napi_create_reference(env, receiver, 1, &watch->receiver);
  napi_create_reference(env, callback, 1, &watch->callback);
  watch->slot = instance->watches.Add(watch);
  instance->open_handles++;
  uv_unref(reinterpret_cast<uv_handle_t*>(&watch->handle));
  status = uv_poll_start(&watch->handle, UV_READABLE, OnReadable);
  if (status < 0) {
    CloseWatch(watch);
    return Number(env, status);
  }
  return Number(env, watch->slot);
}

static Watch* WatchOf(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  int slot = arguments.Int32(0, "handle");
  return arguments.ok() ? Instance::Of(info.Env())->watches.At(slot) : nullptr;
}

// watchRef(handle)
static Napi::Value WatchRef(const Napi::CallbackInfo& info) {
  if (Watch* watch = WatchOf(info)) uv_ref(reinterpret_cast<uv_handle_t*>(&watch->handle));
  return {};
}

// watchUnref(handle)
static Napi::Value WatchUnref(const Napi::CallbackInfo& info) {
  if (Watch* watch = WatchOf(info)) uv_unref(reinterpret_cast<uv_handle_t*>(&watch->handle));
  return {};
}

// watchClose(handle)
static Napi::Value WatchClose(const Napi::CallbackInfo& info) {
  if (Watch* watch = WatchOf(info)) CloseWatch(watch);
  return {};
}

void ExportEvents(Napi::Object exports) {
  Export<WatchEventfd>(exports, "watch");
  Export<WatchRef>(exports, "watchRef");
  Export<WatchUnref>(exports, "watchUnref");
  Export<WatchClose>(exports, "watchClose");
}

}  // namespace vfio
