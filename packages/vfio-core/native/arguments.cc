#include "arguments.h"

#include <cstring>

namespace vfio {

bool BytesOf(napi_env env, napi_value value, Bytes* bytes) {
  bool is_typed_array = false;
  if (napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array) return false;
  napi_typedarray_type type;
  void* data = nullptr;
  // Works on a SharedArrayBuffer too, where the calls for plain ArrayBuffers refuse.
  if (napi_get_typedarray_info(env, value, &type, &bytes->length, &data, nullptr, nullptr) != napi_ok) return false;
  bytes->data = static_cast<uint8_t*>(data);
  return type == napi_uint8_array;
}

bool IntegerOf(napi_env env, napi_value value, int64_t* integer) {
  constexpr double kLargest = 9007199254740991.0;  // 2^53 - 1
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok) return false;
  if (!(number >= -kLargest && number <= kLargest)) return false;
  *integer = static_cast<int64_t>(number);
  return static_cast<double>(*integer) == number;
}

void Arguments::Fail(const char* name, const char* expected) {
  if (!ok_) return;
  ok_ = false;
  char message[160];
  size_t length = 0;
  for (const char* part : {name, " must be ", expected}) {
    for (; *part != '\0' && length < sizeof(message) - 1; part++) message[length++] = *part;
  }
  message[length] = '\0';
  napi_throw_type_error(info_.Env(), "ERR_INVALID_ARG_TYPE", message);
}

int64_t Arguments::Integer(size_t index, const char* name) {
  int64_t integer = 0;
  if (!ok_) return 0;
  if (!IntegerOf(info_.Env(), info_[index], &integer)) Fail(name, "a whole number");
  return ok_ ? integer : 0;
}

int Arguments::Int32(size_t index, const char* name) {
  int64_t integer = Integer(index, name);
  if (integer < INT32_MIN || integer > INT32_MAX) Fail(name, "a whole number of 32 bits");
  return static_cast<int>(integer);
}

uint32_t Arguments::Uint32(size_t index, const char* name) {
  int64_t integer = Integer(index, name);
  if (integer < 0 || integer > UINT32_MAX) Fail(name, "a whole number from 0 to 2^32 - 1");
  return static_cast<uint32_t>(integer);
}

uint64_t Arguments::Address(size_t index, const char* name) {
  if (!ok_) return 0;
  uint64_t address = 0;
  bool lossless = false;
  if (napi_get_value_bigint_uint64(info_.Env(), info_[index], &address, &lossless) != napi_ok || !lossless) {
    Fail(name, "a bigint from 0 to 2^64 - 1");
  }
  return ok_ ? address : 0;
}

Bytes Arguments::Uint8Array(size_t index, const char* name) {
  Bytes bytes;
  if (ok_ && !BytesOf(info_.Env(), info_[index], &bytes)) Fail(name, "a Uint8Array");
  return ok_ ? bytes : Bytes{};
}

void Arguments::String(size_t index, const char* name, Text* into) {
  into->text[0] = '\0';
  if (!ok_) return;
  size_t length = 0;
  if (napi_get_value_string_utf8(info_.Env(), info_[index], into->text, sizeof(into->text), &length) != napi_ok) {
    Fail(name, "a string");
  } else if (std::strlen(into->text) != length) {
    Fail(name, "a string without NUL");
  }
}

Napi::Function Arguments::Function(size_t index, const char* name) {
  if (ok_ && !info_[index].IsFunction()) Fail(name, "a function");
  return ok_ ? info_[index].As<Napi::Function>() : Napi::Function();
}

}  // namespace vfio
