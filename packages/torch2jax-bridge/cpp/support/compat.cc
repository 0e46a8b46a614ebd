#include "support/compat.h"

namespace py = pybind11;

namespace bridge {

void Predicate::Find(const py::type& cls, const char* name) {
  method_ = cls.attr(name).cast<py::object>().release().ptr();
  function_ = nullptr;
  if (Py_TYPE(method_) != &PyMethodDescr_Type) return;
  const PyMethodDef* definition = reinterpret_cast<PyMethodDescrObject*>(method_)->d_method;
  if ((definition->ml_flags & METH_NOARGS) != 0) function_ = definition->ml_meth;
}

void VersionCounter::Find(const py::type& tensor_type) {
  exists_ = py::hasattr(tensor_type, "_version");
  getter_ = nullptr;
  if (!exists_) return;
  const py::object found = tensor_type.attr("_version");
  if (Py_TYPE(found.ptr()) == &PyGetSetDescr_Type) {
    getter_ = reinterpret_cast<PyGetSetDescrObject*>(found.ptr())->d_getset;
  }
}

}  // namespace bridge
