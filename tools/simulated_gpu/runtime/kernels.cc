#include "runtime/kernels.h"

#include <chrono>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

namespace sim {
namespace {

// The arguments of PyTorch's kernels of one element after the other: the number of elements, a
// functor with its constants, and the addresses of the result and the operands.
class Elementwise {
 public:
  explicit Elementwise(void** arguments)
      : size(*static_cast<int*>(arguments[0])),
        functor_(arguments[1]),
        addresses_(static_cast<void**>(arguments[2])) {}

  template <typename T>
  T Constant(size_t index) const {
    return static_cast<T*>(functor_)[index];
  }
  template <typename T>
  T* At(size_t index) const {
    return static_cast<T*>(addresses_[index]);
  }

  const int size;

 private:
  void* functor_;
  void** addresses_;
};

template <typename T>
Operation Fill(const Elementwise& call) {
  return [size = call.size, out = call.At<T>(0), value = call.Constant<T>(0)] {
    for (int i = 0; i < size; ++i) out[i] = value;
  };
}

template <typename Out, typename In, typename Function>
Operation Map(const Elementwise& call, Function function) {
  return [size = call.size, out = call.At<Out>(0), in = call.At<In>(1), function] {
    for (int i = 0; i < size; ++i) out[i] = static_cast<Out>(function(in[i]));
  };
}

template <typename Out, typename In, typename Function>
Operation Zip(const Elementwise& call, Function function) {
  return
      [size = call.size, out = call.At<Out>(0), a = call.At<In>(1), b = call.At<In>(2), function] {
        for (int i = 0; i < size; ++i) out[i] = static_cast<Out>(function(a[i], b[i]));
      };
}

using Make = Operation (*)(const Elementwise&);

// A kernel has all parts in its name.
struct Kernel {
  std::vector<const char*> parts;
  Make make;
};

template <float (*function)(float)>
Operation OfFloat(const Elementwise& call) {
  return Map<float, float>(call, function);
}

float Sin(float x) { return std::sin(x); }
float Cos(float x) { return std::cos(x); }
float Exp(float x) { return std::exp(x); }
float Tanh(float x) { return std::tanh(x); }
float Sqrt(float x) { return std::sqrt(x); }
float Negative(float x) { return -x; }
float Reciprocal(float x) { return 1 / x; }

Operation Add(const Elementwise& call) {
  const float alpha = call.Constant<float>(0);
  return Zip<float, float>(call, [alpha](float a, float b) { return a + alpha * b; });
}

Operation AddToConstant(const Elementwise& call) {
  const float other = call.Constant<float>(0);
  const float alpha = call.Constant<float>(1);
  return Map<float, float>(call, [=](float a) { return a + alpha * other; });
}

Operation ConstantAddTo(const Elementwise& call) {
  const float other = call.Constant<float>(0);
  const float alpha = call.Constant<float>(1);
  return Map<float, float>(call, [=](float a) { return other + alpha * a; });
}

Operation MultiplyByConstant(const Elementwise& call) {
  const float factor = call.Constant<float>(1);
  return Map<float, float>(call, [factor](float a) { return a * factor; });
}

Operation Multiply(const Elementwise& call) {
  return Zip<float, float>(call, [](float a, float b) { return a * b; });
}

Operation Divide(const Elementwise& call) {
  return Zip<float, float>(call, [](float a, float b) { return a / b; });
}

Operation TanhBackward(const Elementwise& call) {
  return Zip<float, float>(call, [](float gradient, float y) { return gradient * (1 - y * y); });
}

const std::vector<Kernel>& Kernels() {
  static const auto* kernels = new std::vector<Kernel>{
      {{"FillFunctorIf"}, Fill<float>},
      {{"FillFunctorIi"}, Fill<std::int32_t>},
      {{"FillFunctorIl"}, Fill<std::int64_t>},
      {{"CUDAFunctor_addIf"}, Add},
      {{"CUDAFunctorOnSelf_addIf"}, AddToConstant},
      {{"CUDAFunctorOnOther_addIf"}, ConstantAddTo},
      {{"AUnaryFunctorIfff", "MulFunctor"}, MultiplyByConstant},
      {{"BUnaryFunctorIfff", "MulFunctor"}, MultiplyByConstant},
      {{"13BinaryFunctorIfff", "MulFunctor"}, Multiply},
      {{"13BinaryFunctorIfff", "DivFunctor"}, Divide},
      {{"tanh_backward_kernel_cuda", "EUlffE_"}, TanhBackward},
      {{"sin_kernel_cuda", "EUlfE_"}, OfFloat<Sin>},
      {{"cos_kernel_cuda", "EUlfE_"}, OfFloat<Cos>},
      {{"exp_kernel_cuda", "EUlfE_"}, OfFloat<Exp>},
      {{"16tanh_kernel_cuda", "EUlfE_"}, OfFloat<Tanh>},
      {{"sqrt_kernel_cuda", "EUlfE_"}, OfFloat<Sqrt>},
      {{"neg_kernel_cuda", "EUlfE_"}, OfFloat<Negative>},
      {{"reciprocal_kernel_cuda", "EUlfE_"}, OfFloat<Reciprocal>},
  };
  return *kernels;
}

bool HasAll(const std::string& name, const std::vector<const char*>& parts) {
  for (const char* part : parts) {
    if (name.find(part) == std::string::npos) return false;
  }
  return true;
}

// torch.cuda._sleep: a number of clock cycles, of which there are about two thousand a microsecond.
Operation Spin(void** arguments) {
  const auto time = std::chrono::microseconds(*static_cast<std::int64_t*>(arguments[0]) / 2000);
  return [time] { std::this_thread::sleep_for(time); };
}

}  // namespace

Operation Emulate(const std::string& kernel, void** arguments) {
  if (HasAll(kernel, {"spin_kernel"})) return Spin(arguments);
  const bool is_elementwise = HasAll(kernel, {"vectorized_elementwise_kernel"}) ||
                              HasAll(kernel, {"unrolled_elementwise_kernel"});
  if (!is_elementwise) return nullptr;
  for (const Kernel& known : Kernels()) {
    if (HasAll(kernel, known.parts)) return known.make(Elementwise(arguments));
  }
  return nullptr;
}

}  // namespace sim
