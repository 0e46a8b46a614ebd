#include "tensors/dtypes.h"

namespace bridge {
namespace {

struct Row {
  xla::ffi::DataType xla;
  dlpack::DataType type;
  const char* name;
};

using T = xla::ffi::DataType;

constexpr Row kTable[] = {
    {T::PRED, {dlpack::kBool, 8, 1}, "bool"},
    {T::S8, {dlpack::kInt, 8, 1}, "int8"},
    {T::S16, {dlpack::kInt, 16, 1}, "int16"},
    {T::S32, {dlpack::kInt, 32, 1}, "int32"},
    {T::S64, {dlpack::kInt, 64, 1}, "int64"},
    {T::U8, {dlpack::kUInt, 8, 1}, "uint8"},
    {T::U16, {dlpack::kUInt, 16, 1}, "uint16"},
    {T::U32, {dlpack::kUInt, 32, 1}, "uint32"},
    {T::U64, {dlpack::kUInt, 64, 1}, "uint64"},
    {T::F16, {dlpack::kFloat, 16, 1}, "float16"},
    {T::F32, {dlpack::kFloat, 32, 1}, "float32"},
    {T::F64, {dlpack::kFloat, 64, 1}, "float64"},
    {T::BF16, {dlpack::kBfloat, 16, 1}, "bfloat16"},
    {T::C64, {dlpack::kComplex, 64, 1}, "complex64"},
    {T::C128, {dlpack::kComplex, 128, 1}, "complex128"},
    {T::F8E4M3FN, {dlpack::kFloat8E4m3fn, 8, 1}, "float8_e4m3fn"},
    {T::F8E4M3FNUZ, {dlpack::kFloat8E4m3fnuz, 8, 1}, "float8_e4m3fnuz"},
    {T::F8E5M2, {dlpack::kFloat8E5m2, 8, 1}, "float8_e5m2"},
    {T::F8E5M2FNUZ, {dlpack::kFloat8E5m2fnuz, 8, 1}, "float8_e5m2fnuz"},
    {T::F8E8M0FNU, {dlpack::kFloat8E8m0fnu, 8, 1}, "float8_e8m0fnu"},
};

}  // namespace

std::optional<dlpack::DataType> ToDlpack(xla::ffi::DataType dtype) {
  for (const Row& row : kTable) {
    if (row.xla == dtype) return row.type;
  }
  return std::nullopt;
}

bool SameType(const dlpack::DataType& a, const dlpack::DataType& b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

std::string TypeName(const dlpack::DataType& dtype) {
  for (const Row& row : kTable) {
    if (SameType(row.type, dtype)) return row.name;
  }
  return "a dtype with DLPack code " + std::to_string(dtype.code) + " and " +
         std::to_string(dtype.bits) + " bits";
}

}  // namespace bridge
