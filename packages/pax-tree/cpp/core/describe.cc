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

std::string DescribeCustom(const NodeType& type) {
  std::string name = std::string("the class ") + type.registration->type->tp_name;
  if (FindRegistration(type.registration->type) != type.registration)
    name += " (as it was registered before)";
  return Counted(name.c_str(), type.arity) + " with the static data " + SafeRepr(type.data);
}

}  // namespace

std::string Describe(const NodeType& type) {
  switch (type.kind) {
    case Kind::kLeaf: return "a leaf";
    case Kind::kNone: return "None";
    case Kind::kTuple: return Counted("a tuple", type.arity);
    case Kind::kList: return Counted("a list", type.arity);
    case Kind::kDict: return WithKeys("a dict", type.data);
    case Kind::kOrderedDict: return WithKeys("an OrderedDict", type.data);
    case Kind::kDefaultDict:
      return WithKeys("a defaultdict", PyTuple_GET_ITEM(type.data, 1)) + " and the factory " +
             SafeRepr(PyTuple_GET_ITEM(type.data, 0));
    case Kind::kDeque:
      return Counted("a deque", type.arity) + " with maxlen=" + SafeRepr(type.data);
    case Kind::kNamedTuple:
      return std::string("a named tuple ") + reinterpret_cast<PyTypeObject*>(type.data)->tp_name;
    case Kind::kRecord: return "the record " + SafeRepr(type.data);
    case Kind::kCustom: return DescribeCustom(type);
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
  return Describe(parts.Type());
}

}  // namespace pax_tree
