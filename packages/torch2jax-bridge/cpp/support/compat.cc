#include "support/compat.h"

#include "support/errors.h"

namespace py = pybind11;

namespace bridge {

void Predicate::Find(const py::type& cls, const char* name) {
  method_ = cls.attr(name).cast<py::object>().release().ptr();
  function_ = nullptr;
  if (Py_TYPE(method_) != &PyMethodDescr_Type) return;
  const PyMethodDef* definition = reinterpret_cast<PyMethodDescrObject*>(method_)->d_method;
  if ((definition->ml_flags & METH_NOARGS) != 0) function_ = definition->ml_meth;
}

bool Predicate::operator()(py::handle object) const {
  const py::object result =
      Checked(function_ != nullptr ? function_(object.ptr(), nullptr)
                                   : PyObject_CallOneArg(method_, object.ptr()));
  return result.ptr() == Py_True;
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

long VersionCounter::Read(py::handle tensor) const {
  if (!exists_) return 0;
  const py::object version =
      Checked(getter_ != nullptr ? getter_->get(tensor.ptr(), getter_->closure)
                                 : PyObject_GetAttrString(tensor.ptr(), "_version"));
  return PyLong_AsLong(version.ptr());
}

}  // namespace bridge
