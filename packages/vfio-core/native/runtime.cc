// The few things of a C++ runtime that the compiler calls for. Nothing else is linked but libc, so that the addon
// asks for no newer C++ library, or GLIBC, than a user's machine has.

#include <cstdlib>
#include <new>
#include <string>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "PCI registers are little-endian, and everything above this addon takes the host to be so too"
#endif

namespace {
void* AllocateOrDie(std::size_t size) {
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
}  // namespace

void* operator new(std::size_t size) { return AllocateOrDie(size); }
void* operator new[](std::size_t size) { return AllocateOrDie(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return std::malloc(size == 0 ? 1 : size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return std::malloc(size == 0 ? 1 : size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

extern "C" void __cxa_pure_virtual() { std::abort(); }

namespace std {
void __throw_length_error(const char*) { abort(); }
void __throw_logic_error(const char*) { abort(); }
void __throw_out_of_range(const char*) { abort(); }
void __throw_out_of_range_fmt(const char*, ...) { abort(); }
void __throw_bad_alloc() { abort(); }
void __throw_bad_array_new_length() { abort(); }
void __throw_bad_function_call() { abort(); }
void __throw_system_error(int) { abort(); }

template class basic_string<char>;
}  // namespace std
