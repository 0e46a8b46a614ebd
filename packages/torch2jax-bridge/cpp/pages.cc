#include "pages.h"

#ifdef __linux__
#include <sys/mman.h>

#include <cstdint>
#endif

namespace bridge {

#ifdef __linux__

void AdviseHugePages(void* data, size_t size) {
  constexpr size_t kLeast = size_t{1} << 22;  // there is a whole huge page in it
  constexpr uintptr_t kPage = uintptr_t{1} << 12;
  if (size < kLeast) return;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + kPage - 1) / kPage * kPage;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + size) / kPage * kPage;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

#else

void AdviseHugePages(void*, size_t) {}

#endif

}  // namespace bridge
