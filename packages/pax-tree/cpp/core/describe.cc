// Nodes in words, for error messages.
#include "core/parts.h"
#include "dict/key_order.h"
#include "record/record.h"

namespace pax_tree {

std::string SafeRepr(PyObject* object) {
  constexpr size_t kMaxLength = 200;
  Ref text(PyObject_Repr(object));
  const char* utf8 = text ? PyUnicode_AsUTF8(text.get()) : nullptr;
  if (utf8 == nullptr) {
    PyErr_Clear();
    return std::string("<") + Py_TYPE(object)->tp_name + ">";
  }
  std::string all(utf8);
  if (all.size() <= kMaxLength) return all;
  size_t end = kMaxLength;
  while (end > 0 && (static_cast<unsigned char>(all[end]) & 0xC0) == 0x80)
    --end;  // whole characters
  return all.substr(0, end) + "...";
}

namespace {

std::string Counted(const char* article, Py_ssize_t arity) {
  return std::string(article) + " of " + std::to_string(arity) +
         (arity == 1 ? " child" : " children");
}

std::string WithKeys(const char* article, PyObject* order) {
  Ref keys(PySequence_List(AsOrder(order)->sorted));
  return std::string(article) + " with the keys " + (keys ? SafeRepr(keys.get()) : "?");
}

std::string DescribeCustom(Registration* registration, PyObject* data, Py_ssize_t arity) {
  std::string name = std::string("the class ") + registration->type->tp_name;
  if (FindRegistration(registration->type) != registration)
    name += " (as it was registered before)";
  return Counted(name.c_str(), arity) + " with the static data " + SafeRepr(data);
}

std::string DescribeNamedTuple(PyObject* type) {
  return std::string("a named tuple ") + reinterpret_cast<PyTypeObject*>(type)->tp_name;
}

}  // namespace

std::string Describe(Kind kind, Registration* registration, PyObject* data, Py_ssize_t arity) {
  switch (kind) {
    case Kind::kLeaf:
      return "a leaf";
    case Kind::kNone:
      return "None";
    case Kind::kTuple:
      return Counted("a tuple", arity);
    case Kind::kList:
      return Counted("a list", arity);
    case Kind::kDict:
      return WithKeys("a dict", data);
    case Kind::kOrderedDict:
      return WithKeys("an OrderedDict", data);
    case Kind::kDefaultDict:
      return WithKeys("a defaultdict", PyTuple_GET_ITEM(data, 1)) + " and the factory " +
             SafeRepr(PyTuple_GET_ITEM(data, 0));
    case Kind::kDeque:
      return Counted("a deque", arity) + " with maxlen=" + SafeRepr(data);
    case Kind::kNamedTuple:
      return DescribeNamedTuple(data);
    case Kind::kRecord:
      return "the record " + SafeRepr(data);
    case Kind::kCustom:
      return DescribeCustom(registration, data, arity);
  }
  return "a node";
}

std::string DescribeObject(PyObject* object) {
  Walk walk("describe");
  Verdict verdict;
  Parts parts;
  if (!walk.ClassifyType(object, &verdict) || !Open(&walk, object, verdict, &parts)) {
    PyErr_Clear();
    return std::string("an object of type ") + Py_TYPE(object)->tp_name;
  }
  if (verdict.kind == Kind::kLeaf) return std::string("a leaf of type ") + Py_TYPE(object)->tp_name;
  return Describe(parts.kind, parts.registration, parts.data.get(), parts.arity);
}

}  // namespace pax_tree
