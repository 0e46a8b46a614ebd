// PyTreeDef.from_node_data_and_children: a treedef out of its root and the treedefs below it.
#include "core/parts.h"
#include "dict/key_order.h"
#include "record/spec.h"
#include "support/errors.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

// The class of the root, what it is in this registry, and its static data.
struct Root {
  PyTypeObject* type = nullptr;
  Verdict verdict = {Kind::kLeaf, nullptr};
  PyObject* given = nullptr;
  Py_ssize_t arity = 0;
};

Failed Wrong(const Root& root, const char* what) {
  return Raise(PyExc_ValueError,
               "A node of class %s with %zd children cannot have the static data %R: %s.",
               root.type->tp_name, root.arity, root.given, what);
}

// The order of dict keys that are given in the order of the children.
PyObject* OrderOfGiven(const Root& root, PyObject* keys) {
  bool sequence = PyTuple_Check(keys) || PyList_Check(keys);
  Ref tuple(sequence ? PySequence_Tuple(keys) : nullptr);
  Ref distinct(tuple ? PySet_New(tuple.get()) : nullptr);
  if (PyErr_Occurred()) return nullptr;
  if (!tuple || PySet_GET_SIZE(distinct.get()) != root.arity ||
      PyTuple_GET_SIZE(tuple.get()) != root.arity) {
    return Wrong(root, "there must be a list of as many different keys as children");
  }
  return OrderAsGiven(tuple.get());
}

bool DefaultDictData(const Root& root, PyObject** data) {
  if (!PyTuple_Check(root.given) || PyTuple_GET_SIZE(root.given) != 2) {
    return Wrong(root, "it must be a pair of the default factory and the keys");
  }
  Ref order(OrderOfGiven(root, PyTuple_GET_ITEM(root.given, 1)));
  *data = order ? PyTuple_Pack(2, PyTuple_GET_ITEM(root.given, 0), order.get()) : nullptr;
  return *data != nullptr;
}

bool RecordData(const Root& root, PyObject** data) {
  bool fits = Py_IS_TYPE(root.given, record_spec_type) && AsSpec(root.given)->cls == root.type &&
              NumChildren(AsSpec(root.given)) == root.arity;
  if (!fits) return Wrong(root, "it must be a RecordSpec of this class with as many names");
  *data = Py_NewRef(root.given);
  return true;
}

bool Childless(const Root& root) { return root.arity == 0 || Wrong(root, "it has no children"); }

// The data of a Node (null for none), a new reference. False with an error set.
bool NodeData(const Root& root, PyObject** data) {
  switch (root.verdict.kind) {
    case Kind::kDict:
    case Kind::kOrderedDict:
      return (*data = OrderOfGiven(root, root.given)) != nullptr;
    case Kind::kDefaultDict:
      return DefaultDictData(root, data);
    case Kind::kRecord:
      return RecordData(root, data);
    case Kind::kNamedTuple:
      *data = Py_NewRef(reinterpret_cast<PyObject*>(root.type));
      return true;
    case Kind::kDeque:
    case Kind::kCustom:
      *data = Py_NewRef(root.given);
      return true;
    case Kind::kNone:
      return Childless(root);
    default:
      return true;
  }
}

bool ReadRoot(PyObject* node_data, Root* root) {
  if (!PyTuple_Check(node_data) || PyTuple_GET_SIZE(node_data) != 2 ||
      !PyType_Check(PyTuple_GET_ITEM(node_data, 0))) {
    return Raise(PyExc_TypeError,
                 "The node data must be a pair (class, static data), or None for a leaf, but got "
                 "%R.",
                 node_data);
  }
  root->type = reinterpret_cast<PyTypeObject*>(PyTuple_GET_ITEM(node_data, 0));
  root->given = PyTuple_GET_ITEM(node_data, 1);
  Registration* known = FindRegistration(root->type);
  if (known != nullptr) root->verdict = {known->kind, known};
  if (known == nullptr && !ClassifyUnknownType(root->type, &root->verdict)) return false;
  if (root->verdict.kind != Kind::kLeaf) return true;
  return Raise(PyExc_ValueError,
               "Objects of class %s are leaves; register the class to make it a node.",
               root->type->tp_name);
}

bool AddChildren(PyObject* children, NodeList* nodes, size_t* leaves) {
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(children); ++i) {
    PyObject* child = PySequence_Fast_GET_ITEM(children, i);
    if (!Py_IS_TYPE(child, treedef_type)) {
      return Raise(PyExc_TypeError, "The children must be PyTreeDefs, but number %zd is a %s.", i,
                   Py_TYPE(child)->tp_name);
    }
    if (!nodes->AddCopies(Nodes(child), static_cast<size_t>(Py_SIZE(child)))) return false;
    *leaves += Nodes(child)->num_leaves;
  }
  return true;
}

PyObject* MakeLeaf(Py_ssize_t children) {
  if (children > 0) {
    return Raise(PyExc_ValueError, "A leaf has no children, but got %zd.", children);
  }
  NodeList nodes;
  return nodes.Add(Kind::kLeaf, 0, nullptr, nullptr) ? nodes.Finish() : nullptr;
}

}  // namespace

PyObject* TreeDefFromParts(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 2) {
    return Raise(PyExc_TypeError, "from_node_data_and_children takes 2 arguments, but got %zd.",
                 nargs);
  }
  Ref children(PySequence_Tuple(args[1]));
  if (!children) return nullptr;
  Root root;
  root.arity = PyTuple_GET_SIZE(children.get());
  if (args[0] == Py_None) return MakeLeaf(root.arity);
  PyObject* data = nullptr;
  if (!ReadRoot(args[0], &root) || !NodeData(root, &data)) return nullptr;
  NodeList nodes;
  size_t leaves = 0;
  if (!nodes.Add(root.verdict.kind, root.arity, data, root.verdict.registration)) return nullptr;
  if (!AddChildren(children.get(), &nodes, &leaves)) return nullptr;
  return nodes.Close(0, leaves) ? nodes.Finish() : nullptr;
}

}  // namespace pax_tree
