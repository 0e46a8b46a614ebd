// A treedef in words, as JAX prints it.
#include <string>

#include "core/parts.h"
#include "dict/key_order.h"
#include "record/spec.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

bool Append(std::string* text, PyObject* str) {
  Ref owned(str);
  const char* utf8 = owned ? PyUnicode_AsUTF8(str) : nullptr;
  if (utf8 != nullptr) text->append(utf8);
  return utf8 != nullptr;
}

struct Printer {
  const Node* node;
  std::string text;
  Depth depth;

  bool Print();
  bool PrintList(uint32_t arity, const char* open, const char* close);
  bool PrintDict(const Node& dict);
  bool PrintCustom(const Node& custom);
};

bool Printer::PrintList(uint32_t arity, const char* open, const char* close) {
  text += open;
  for (uint32_t i = 0; i < arity; ++i) {
    if (i > 0) text += ", ";
    if (!Print()) return false;
  }
  text += close;
  return true;
}

bool Printer::PrintDict(const Node& dict) {
  text += "{";
  for (uint32_t i = 0; i < dict.arity; ++i) {
    if (i > 0) text += ", ";
    if (!Append(&text, PyObject_Repr(PyTuple_GET_ITEM(AsOrder(dict.data)->sorted, i))))
      return false;
    text += ": ";
    if (!Print()) return false;
  }
  text += "}";
  return true;
}

PyObject* NameOf(PyTypeObject* type) {
  return PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__name__");
}

// Name[data] of a node that JAX calls custom.
bool AppendLabel(std::string* text, const Node& node) {
  if (node.kind == Kind::kNamedTuple) {
    text->append("namedtuple[");
    return Append(text, NameOf(reinterpret_cast<PyTypeObject*>(node.data)));
  }
  bool record = node.kind == Kind::kRecord;
  PyTypeObject* type = record ? AsSpec(node.data)->cls : node.registration->type;
  if (!Append(text, NameOf(type))) return false;
  text->append("[");
  if (node.kind == Kind::kDefaultDict) {
    PyObject* keys = AsOrder(PyTuple_GET_ITEM(node.data, 1))->sorted;
    Ref data(PyTuple_Pack(2, PyTuple_GET_ITEM(node.data, 0), keys));
    return data && Append(text, PyObject_Repr(data.get()));
  }
  if (node.kind == Kind::kOrderedDict)
    return Append(text, PyObject_Repr(AsOrder(node.data)->sorted));
  return Append(text, PyObject_Str(node.data));
}

bool Printer::PrintCustom(const Node& custom) {
  text += "CustomNode(";
  return AppendLabel(&text, custom) && PrintList(custom.arity, "], [", "])");
}

bool Printer::Print() {
  DepthGuard guard(&depth);
  if (!guard) return false;
  const Node& current = *node++;
  switch (current.kind) {
    case Kind::kLeaf: text += "*"; return true;
    case Kind::kNone: text += "None"; return true;
    case Kind::kTuple: return PrintList(current.arity, "(", current.arity == 1 ? ",)" : ")");
    case Kind::kList: return PrintList(current.arity, "[", "]");
    case Kind::kDict: return PrintDict(current);
    default: return PrintCustom(current);
  }
}

}  // namespace

PyObject* TreeDefRepr(PyObject* self) {
  Printer printer{Nodes(self), "PyTreeDef(", {}};
  if (!printer.Print()) return nullptr;
  printer.text += ")";
  return PyUnicode_DecodeUTF8(printer.text.data(), static_cast<Py_ssize_t>(printer.text.size()),
                              nullptr);
}

}  // namespace pax_tree
