// The part of DLPack's C ABI (major version 1) that the bridge uses: the versioned tensor and the
// exchange table that a tensor type publishes as `__dlpack_c_exchange_api__`.
// Specification: https://dmlc.github.io/dlpack/latest/c_api.html

#ifndef TORCH2JAX_BRIDGE_TENSORS_DLPACK_ABI_H_
#define TORCH2JAX_BRIDGE_TENSORS_DLPACK_ABI_H_

#include <cstdint>

namespace bridge::dlpack {

constexpr uint32_t kMajorVersion = 1;

enum DeviceType : int32_t { kCpu = 1, kCuda = 2 };

enum TypeCode : uint8_t {
  kInt = 0,
  kUInt = 1,
  kFloat = 2,
  kBfloat = 4,
  kComplex = 5,
  kBool = 6,
  kFloat8E4m3fn = 10,
  kFloat8E4m3fnuz = 11,
  kFloat8E5m2 = 12,
  kFloat8E5m2fnuz = 13,
  kFloat8E8m0fnu = 14,
};

struct Device {
  int32_t device_type;
  int32_t device_id;
};

struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements
  uint64_t byte_offset;
};

struct Version {
  uint32_t major;
  uint32_t minor;
};

struct ManagedTensor {
  Version version;
  void* manager_ctx;
  void (*deleter)(ManagedTensor* self);
  uint64_t flags;
  Tensor tensor;
};

// The form before version 1.
struct OldManagedTensor {
  Tensor tensor;
  void* manager_ctx;
  void (*deleter)(OldManagedTensor* self);
};

struct ExchangeHeader {
  Version version;
  ExchangeHeader* previous;
};

// The functions return 0 on success and -1 with a Python exception set. The entries that the bridge
// does not call are kept as untyped pointers: only their place matters.
struct ExchangeTable {
  ExchangeHeader header;
  void* allocate;
  int (*export_managed)(void* py_tensor, ManagedTensor** out);
  int (*import_managed)(ManagedTensor* tensor, void** py_tensor);
  int (*view)(void* py_tensor, Tensor* out);                                     // optional
  int (*current_stream)(DeviceType device_type, int32_t device_id, void** out);  // optional
};

}  // namespace bridge::dlpack

#endif  // TORCH2JAX_BRIDGE_TENSORS_DLPACK_ABI_H_
