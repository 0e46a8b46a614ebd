// Pickling treedefs.
#include "core/parts.h"
#include "dict/key_order.h"
#include "record/spec.h"
#include "support/errors.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

// A node's data with the parts that only C++ knows replaced by tuples.
PyObject* DataState(const Node& node) {
  switch (node.kind) {
    case Kind::kDict:
    case Kind::kOrderedDict:
      return PyTuple_Pack(2, AsOrder(node.data)->sorted, AsOrder(node.data)->inserted);
    case Kind::kDefaultDict: {
      KeyOrder* order = AsOrder(PyTuple_GET_ITEM(node.data, 1));
      return PyTuple_Pack(3, PyTuple_GET_ITEM(node.data, 0), order->sorted, order->inserted);
    }
    case Kind::kCustom:
      return PyTuple_Pack(2, node.registration->type, node.data);
    default:
      return Py_NewRef(node.data == nullptr ? Py_None : node.data);
  }
}

Failed BadState() {
  return Raise(PyExc_ValueError, "This is not the state of a pickled PyTreeDef.");
}

bool CheckTuple(PyObject* object, Py_ssize_t size) {
  return (PyTuple_Check(object) && PyTuple_GET_SIZE(object) == size) || BadState();
}

PyObject* LoadOrder(PyObject* sorted, PyObject* inserted, Py_ssize_t arity) {
  if (!CheckTuple(sorted, arity) || !CheckTuple(inserted, arity)) return nullptr;
  return OrderOfTuples(sorted, inserted);
}

bool LoadDict(PyObject* state, Node* node) {
  bool factory = node->kind == Kind::kDefaultDict;
  if (!CheckTuple(state, factory ? 3 : 2)) return false;
  Py_ssize_t keys = factory ? 1 : 0;
  Ref order(
      LoadOrder(PyTuple_GET_ITEM(state, keys), PyTuple_GET_ITEM(state, keys + 1), node->arity));
  if (!order) return false;
  node->data = factory ? PyTuple_Pack(2, PyTuple_GET_ITEM(state, 0), order.get()) : order.release();
  return node->data != nullptr;
}

bool LoadCustom(PyObject* state, Node* node) {
  if (!CheckTuple(state, 2) || !PyType_Check(PyTuple_GET_ITEM(state, 0))) return BadState();
  auto* type = reinterpret_cast<PyTypeObject*>(PyTuple_GET_ITEM(state, 0));
  Verdict verdict{Kind::kLeaf, FindRegistration(type)};
  if (verdict.registration == nullptr && !ClassifyUnknownType(type, &verdict)) return false;
  if (verdict.registration == nullptr || verdict.registration->kind != Kind::kCustom) {
    return Raise(PyExc_ValueError,
                 "The pickled structure has a node of class %s, which is not registered here; "
                 "register the class before unpickling.",
                 type->tp_name);
  }
  node->registration = verdict.registration;
  node->data = Py_NewRef(PyTuple_GET_ITEM(state, 1));
  return true;
}

bool LoadRecord(PyObject* state, Node* node) {
  if (!Py_IS_TYPE(state, record_spec_type)) return BadState();
  if (NumChildren(AsSpec(state)) != node->arity) return BadState();
  node->data = Py_NewRef(state);
  return true;
}

PyTypeObject* BuiltInType(Kind kind) {
  switch (kind) {
    case Kind::kTuple:
      return &PyTuple_Type;
    case Kind::kList:
      return &PyList_Type;
    case Kind::kDict:
      return &PyDict_Type;
    case Kind::kOrderedDict:
      return ordered_dict_type;
    case Kind::kDefaultDict:
      return default_dict_type;
    case Kind::kDeque:
      return deque_type;
    default:
      return Py_TYPE(Py_None);
  }
}

bool LoadData(PyObject* state, Node* node) {
  node->registration = FindRegistration(BuiltInType(node->kind));
  switch (node->kind) {
    case Kind::kDict:
    case Kind::kOrderedDict:
    case Kind::kDefaultDict:
      return LoadDict(state, node);
    case Kind::kCustom:
      return LoadCustom(state, node);
    case Kind::kRecord:
      node->registration = nullptr;
      return LoadRecord(state, node);
    case Kind::kNamedTuple:
      if (!PyType_Check(state)) return BadState();
      node->registration = nullptr;
      [[fallthrough]];
    case Kind::kDeque:
      node->data = Py_NewRef(state);
      return true;
    case Kind::kLeaf:
      node->registration = nullptr;
      return true;
    default:
      return true;
  }
}

struct Loader {
  explicit Loader(PyObject* given) : states(given) {}

  PyObject* states;  // tuple of (kind, arity, data)
  Py_ssize_t next = 0;
  NodeList nodes;
  Depth depth;
};

bool ReadHeader(PyObject* state, Node* node) {
  if (!CheckTuple(state, 3)) return false;
  long kind = PyLong_AsLong(PyTuple_GET_ITEM(state, 0));
  long arity = PyLong_AsLong(PyTuple_GET_ITEM(state, 1));
  if (PyErr_Occurred()) return false;
  if (kind < 0 || kind > static_cast<long>(Kind::kCustom) || arity < 0) return BadState();
  *node = {static_cast<Kind>(kind), static_cast<uint32_t>(arity), 1, 0, nullptr, nullptr};
  bool childless = node->kind == Kind::kLeaf || node->kind == Kind::kNone;
  if (childless && arity > 0) return BadState();
  return LoadData(PyTuple_GET_ITEM(state, 2), node);
}

// Loads the next subtree; returns its number of leaves, or -1.
Py_ssize_t LoadNext(Loader* loader) {
  DepthGuard guard(&loader->depth);
  if (!guard) return -1;
  if (loader->next >= PyTuple_GET_SIZE(loader->states)) return BadState();
  Node node;
  if (!ReadHeader(PyTuple_GET_ITEM(loader->states, loader->next++), &node)) return -1;
  size_t at = loader->nodes.size();
  if (!loader->nodes.Add(node.kind, node.arity, node.data, node.registration)) return -1;
  if (node.kind == Kind::kLeaf) return 1;
  Py_ssize_t leaves = 0;
  for (uint32_t i = 0; i < node.arity; ++i) {
    Py_ssize_t more = LoadNext(loader);
    if (more < 0) return -1;
    leaves += more;
  }
  return loader->nodes.Close(at, leaves) ? leaves : -1;
}

}  // namespace

PyObject* TreeDefReduce(PyObject* self, PyObject*) {
  Ref states(PyTuple_New(Py_SIZE(self)));
  for (Py_ssize_t i = 0; states && i < Py_SIZE(self); ++i) {
    const Node& node = Nodes(self)[i];
    Ref data(DataState(node));
    PyObject* state =
        data ? Py_BuildValue("(iIO)", static_cast<int>(node.kind), node.arity, data.get())
             : nullptr;
    if (state == nullptr) return nullptr;
    PyTuple_SET_ITEM(states.get(), i, state);
  }
  Ref module(states ? PyImport_ImportModule("pax_tree._C") : nullptr);
  Ref make(module ? PyObject_GetAttrString(module.get(), "_make_treedef") : nullptr);
  return make ? Py_BuildValue("O(O)", make.get(), states.get()) : nullptr;
}

PyObject* MakeTreeDef(PyObject*, PyObject* state) {
  if (!PyTuple_Check(state)) return BadState();
  Loader loader(state);
  if (LoadNext(&loader) < 0) return nullptr;
  if (loader.next != PyTuple_GET_SIZE(state)) return BadState();
  return loader.nodes.Finish();
}

}  // namespace pax_tree
