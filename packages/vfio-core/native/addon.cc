#include "addon.h"

namespace vfio {

Instance* Instance::Of(napi_env env) {
  void* instance = nullptr;
  napi_get_instance_data(env, &instance);
  return static_cast<Instance*>(instance);
}

// The environment ends: at process exit, or with its Worker. No JavaScript runs any more.
void Instance::OnCleanup(napi_async_cleanup_hook_handle hook, void* data) {
  Instance* instance = static_cast<Instance*>(data);
  instance->cleanup_ = hook;
  instance->exits->Play();
  CloseWatches(instance);
  UnmapAll(instance);
  instance->EndIfIdle();
}

void Instance::HandleClosed() {
  open_handles--;
  EndIfIdle();
}

void Instance::EndIfIdle() {
  if (cleanup_ == nullptr || open_handles > 0) return;
  napi_remove_async_cleanup_hook(cleanup_);
  exits->Retire();
  delete this;
}

// Orders stores to ordinary memory before a later store to a device register. On x86-64 stores keep their order, and
// TypeScript does not call this at all.
static Napi::Value StoreBarrier(const Napi::CallbackInfo& info) {
#if defined(__aarch64__)
  __asm__ volatile("dmb oshst" ::: "memory");
#elif defined(__x86_64__)
  __asm__ volatile("" ::: "memory");
#else
#error "say here how this processor orders stores"
#endif
  return info.Env().Undefined();
}

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  Instance* instance = new Instance(env);
  instance->exits = new ExitList(instance);
  napi_set_instance_data(env, instance, nullptr, nullptr);
  // Asynchronous, because closing a handle of the event loop is.
  napi_add_async_cleanup_hook(env, Instance::OnCleanup, instance, nullptr);

  ExportFiles(exports);
  ExportIoctl(exports);
  ExportMemory(exports);
  ExportEvents(exports);
  ExportExitList(exports);
  Export<StoreBarrier>(exports, "storeBarrier");
  return exports;
}

}  // namespace vfio

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) { return vfio::Init(env, exports); }
NODE_API_MODULE(vfio_core, InitAddon)
