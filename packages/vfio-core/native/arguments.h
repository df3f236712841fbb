// Arguments of a call, checked. The first one that is wrong leaves a pending TypeError; the readers then return zeros
// and `ok()` is false.

#pragma once

#include <napi.h>

#include <climits>
#include <cstdint>

namespace vfio {

// Bytes of a Uint8Array. They live as long as the array and its buffer do.
struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
};

// False when `value` is not a Uint8Array.
bool BytesOf(napi_env env, napi_value value, Bytes* bytes);
// False when `value` is not a whole number that a double holds exactly.
bool IntegerOf(napi_env env, napi_value value, int64_t* integer);

class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}
  bool ok() const { return ok_; }

  int Int32(size_t index, const char* name);
  uint32_t Uint32(size_t index, const char* name);
  int64_t Integer(size_t index, const char* name);
  uint64_t Address(size_t index, const char* name);
  Bytes Uint8Array(size_t index, const char* name);
  // NUL-terminated. A text with a NUL inside is a TypeError; one that is too long is cut, and so longer than any path.
  struct Text {
    char text[PATH_MAX + 2];
  };
  void String(size_t index, const char* name, Text* into);
  Napi::Function Function(size_t index, const char* name);

  void Fail(const char* name, const char* expected);

 private:
  const Napi::CallbackInfo& info_;
  bool ok_ = true;
};

}  // namespace vfio
