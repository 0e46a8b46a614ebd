// The `__dict__` of a record: a dict, as `inspect`, protocols and debuggers expect it, that refuses
// to be changed, since a change of it would not reach the record.
#include "record/attribute_dict.h"

#include "support/errors.h"

namespace pax_tree {
namespace {

PyTypeObject* attribute_dict_type = nullptr;

PyObject* Refuse(PyObject*, PyObject*, PyObject*) {
  PyErr_SetString(PyExc_TypeError,
                  "The __dict__ of a record or module is only read; set its attributes with "
                  "setattr(object, name, value), delete them with delattr(object, name).");
  return nullptr;
}

int RefuseItem(PyObject* self, PyObject*, PyObject*) {
  Refuse(self, nullptr, nullptr);
  return -1;
}

PyObject* RefuseOr(PyObject* self, PyObject*) { return Refuse(self, nullptr, nullptr); }

// Copies and pickles are plain dicts, which may be changed.
PyObject* Reduce(PyObject* self, PyObject*) {
  Ref copy(PyDict_Copy(self));
  if (!copy) return nullptr;
  return Py_BuildValue("O(O)", reinterpret_cast<PyObject*>(&PyDict_Type), copy.get());
}

PyMethodDef Refused(const char* name) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(Refuse)),
          METH_VARARGS | METH_KEYWORDS, nullptr};
}

PyMethodDef methods[] = {
    Refused("clear"),
    Refused("pop"),
    Refused("popitem"),
    Refused("setdefault"),
    Refused("update"),
    {"__reduce_ex__", Reduce, METH_O, "Pickle support."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_methods, methods},
    {Py_mp_ass_subscript, reinterpret_cast<void*>(RefuseItem)},
    {Py_nb_inplace_or, reinterpret_cast<void*>(RefuseOr)},
    {0, nullptr},
};

PyType_Spec type_spec = {"pax_tree._C.AttributeDict", 0, 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

}  // namespace

PyObject* NewAttributeDict(PyObject* attributes) {
  Ref dict(PyDict_Type.tp_new(attribute_dict_type, nullptr, nullptr));
  if (!dict || PyDict_Update(dict.get(), attributes) < 0) return nullptr;
  return dict.release();
}

bool InitAttributeDict() {
  PyObject* base = reinterpret_cast<PyObject*>(&PyDict_Type);
  attribute_dict_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpecWithBases(&type_spec, base));
  return attribute_dict_type != nullptr;
}

}  // namespace pax_tree
