// What PyTorch links to, and what is not simulated: graphs, pools of memory, other processes. The
// header is left out, as only the names matter.

namespace {

constexpr int kNotSupported = 801;

}  // namespace

#define NOT_SUPPORTED(name) \
  extern "C" int name() { return kNotSupported; }

NOT_SUPPORTED(cudaDeviceGetDefaultMemPool)
NOT_SUPPORTED(cudaDeviceGetGraphMemAttribute)
NOT_SUPPORTED(cudaDeviceSetGraphMemAttribute)
NOT_SUPPORTED(cudaFreeAsync)
NOT_SUPPORTED(cudaGetSymbolAddress)
NOT_SUPPORTED(cudaGraphAddNode)
NOT_SUPPORTED(cudaGraphConditionalHandleCreate)
NOT_SUPPORTED(cudaGraphDebugDotPrint)
NOT_SUPPORTED(cudaGraphDestroy)
NOT_SUPPORTED(cudaGraphExecDestroy)
NOT_SUPPORTED(cudaGraphGetNodes)
NOT_SUPPORTED(cudaGraphInstantiate)
NOT_SUPPORTED(cudaGraphInstantiateWithFlags)
NOT_SUPPORTED(cudaGraphLaunch)
NOT_SUPPORTED(cudaGraphNodeGetDependencies)
NOT_SUPPORTED(cudaGraphRetainUserObject)
NOT_SUPPORTED(cudaIpcCloseMemHandle)
NOT_SUPPORTED(cudaIpcGetEventHandle)
NOT_SUPPORTED(cudaIpcGetMemHandle)
NOT_SUPPORTED(cudaIpcOpenEventHandle)
NOT_SUPPORTED(cudaIpcOpenMemHandle)
NOT_SUPPORTED(cudaKernelSetAttributeForDevice)
NOT_SUPPORTED(cudaLibraryGetGlobal)
NOT_SUPPORTED(cudaLibraryGetKernel)
NOT_SUPPORTED(cudaLibraryGetKernelCount)
NOT_SUPPORTED(cudaLibraryGetManaged)
NOT_SUPPORTED(cudaLibraryGetUnifiedFunction)
NOT_SUPPORTED(cudaLibraryLoadData)
NOT_SUPPORTED(cudaLibraryLoadFromFile)
NOT_SUPPORTED(cudaLibraryUnload)
NOT_SUPPORTED(cudaMallocAsync)
NOT_SUPPORTED(cudaMallocHost)
NOT_SUPPORTED(cudaMallocManaged)
NOT_SUPPORTED(cudaMemcpy2DAsync)
NOT_SUPPORTED(cudaMemPoolGetAttribute)
NOT_SUPPORTED(cudaMemPoolSetAccess)
NOT_SUPPORTED(cudaMemPoolSetAttribute)
NOT_SUPPORTED(cudaMemPoolTrimTo)
NOT_SUPPORTED(cudaStreamBeginCapture)
NOT_SUPPORTED(cudaStreamBeginCaptureToGraph)
NOT_SUPPORTED(cudaStreamEndCapture)
NOT_SUPPORTED(cudaStreamUpdateCaptureDependencies)
NOT_SUPPORTED(cudaUserObjectCreate)
NOT_SUPPORTED(cudaUserObjectRelease)
