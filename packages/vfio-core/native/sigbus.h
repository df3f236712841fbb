// What happens when a mapped register cannot be reached: the device is asleep, has memory decoding off, or is gone.

#pragma once

#include <cstddef>

namespace vfio {

// A mapping under guard.
struct GuardedRange;

// A touch of this range that raises SIGBUS is answered, from now on, with a private page of 0xFF.
GuardedRange* Guard(void* start, size_t length);
// Call before munmap(2).
void Unguard(GuardedRange* range);
// Whether a touch was answered so.
bool HasFaulted(const GuardedRange* range);
void SetFaulted(GuardedRange* range, bool faulted);

}  // namespace vfio
