// Error messages of the functions that follow dm-tree.
#include "dm/dm.h"
#include "core/parts.h"

namespace pax_tree::dm {
namespace {

const char* ShapeName(PyObject* object, Shape shape) {
  switch (shape) {
    case Shape::kTuple:
      return "a tuple";
    case Shape::kList:
      return "a list";
    case Shape::kDict:
      return "a dict";
    default:
      return Py_TYPE(object)->tp_name;
  }
}

std::string PathText(const std::vector<Ref>& place) {
  Ref path(PyTuple_New(static_cast<Py_ssize_t>(place.size())));
  if (!path) return "";
  Py_ssize_t i = 0;
  for (auto key = place.rbegin(); key != place.rend(); ++key) {
    PyTuple_SET_ITEM(path.get(), i++, Py_NewRef(*key ? key->get() : Py_None));
  }
  return "at the path " + SafeRepr(path.get());
}

}  // namespace

std::string DescribeForm(PyObject* object, Form form) {
  if (!form.nested) return std::string("a leaf of type ") + Py_TYPE(object)->tp_name;
  std::string name = ShapeName(object, form.shape);
  Children children;
  if (!OpenValues(object, form, &children)) return PyErr_Clear(), name;
  if (form.shape == Shape::kDict || form.shape == Shape::kMapping) {
    Ref keys(PySequence_List(children.keys.get()));
    return name + " with the keys " + (keys ? SafeRepr(keys.get()) : "?");
  }
  return name + " of " + std::to_string(children.size()) +
         (children.size() == 1 ? " element" : " elements");
}

void RaiseAt(PyObject* type, const char* function, const std::vector<Ref>& place,
             const std::string& what) {
  std::string where = place.empty() ? std::string("at the root") : PathText(place);
  PyErr_Format(type, "%s: %s: %s", function, where.c_str(), what.c_str());
}

void RaiseFrom(PyObject* type, const std::string& what) {
  PyObject *cause_type, *cause, *traceback;
  PyErr_Fetch(&cause_type, &cause, &traceback);
  PyErr_NormalizeException(&cause_type, &cause, &traceback);
  if (traceback != nullptr) PyException_SetTraceback(cause, traceback);
  PyErr_SetString(type, what.c_str());
  PyObject *new_type, *error, *new_traceback;
  PyErr_Fetch(&new_type, &error, &new_traceback);
  PyErr_NormalizeException(&new_type, &error, &new_traceback);
  PyException_SetContext(error, Py_NewRef(cause));  // both take the reference
  PyException_SetCause(error, cause);
  Py_XDECREF(cause_type);
  Py_XDECREF(traceback);
  PyErr_Restore(new_type, error, new_traceback);
}

bool ReadCheckTypes(const char* function, PyObject* const* args, Py_ssize_t nargs, PyObject* names,
                    bool* check_types) {
  for (Py_ssize_t i = 0; names != nullptr && i < PyTuple_GET_SIZE(names); ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    if (PyUnicode_CompareWithASCIIString(name, "check_types") != 0) {
      PyErr_Format(PyExc_ValueError, "%s() takes no keyword but check_types, and got %R.", function,
                   name);
      return false;
    }
    int truth = PyObject_IsTrue(args[nargs + i]);
    if (truth < 0) return false;
    *check_types = truth == 1;
  }
  return true;
}

}  // namespace pax_tree::dm
