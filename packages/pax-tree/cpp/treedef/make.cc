// Treedefs out of what they say of themselves: from_node_data_and_children, and pickling.
#include "core/parts.h"
#include "dict/key_order.h"
#include "record/spec.h"
#include "support/errors.h"
#include "support/sequence.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

// The class of the root, what it is in this registry, and its static data.
struct Root {
  PyTypeObject* type = nullptr;
  Verdict verdict = {Kind::kLeaf, nullptr};
  Ref held;  // the registration
  PyObject* given = nullptr;
  Py_ssize_t arity = 0;
  PyObject* inserted = nullptr;  // of a dict: the keys as they were inserted, if that is known
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
  if (root.inserted == nullptr) return OrderAsGiven(tuple.get());
  if (!PyTuple_Check(root.inserted) || PyTuple_GET_SIZE(root.inserted) != root.arity) {
    return Wrong(root, "the inserted keys must be as many");
  }
  return OrderOfTuples(tuple.get(), root.inserted);
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
    case Kind::kOrderedDict: return (*data = OrderOfGiven(root, root.given)) != nullptr;
    case Kind::kDefaultDict: return DefaultDictData(root, data);
    case Kind::kRecord: return RecordData(root, data);
    case Kind::kNamedTuple: *data = Py_NewRef(reinterpret_cast<PyObject*>(root.type)); return true;
    case Kind::kDeque:
    case Kind::kCustom: *data = Py_NewRef(root.given); return true;
    case Kind::kNone: return Childless(root);
    default: return true;
  }
}

// What objects of a class are in this registry.
bool Classify(Root* root) {
  Registration* known = FindRegistration(root->type);
  if (known != nullptr) {
    root->verdict = {known->kind, known};
  } else if (!ClassifyUnknownType(root->type, &root->verdict)) {
    return false;
  }
  root->held = Ref::Borrow(AsObject(root->verdict.registration));
  return true;
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
  if (!Classify(root)) return false;
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

// What is pickled of a node: (class or None, static data, number of children, inserted keys).
PyObject* StateOf(const Node& node) {
  Ref data(StaticData(node));
  PyTypeObject* type = node.kind == Kind::kLeaf ? nullptr : ClassOf(node);
  PyObject* cls = type == nullptr ? Py_None : reinterpret_cast<PyObject*>(type);
  PyObject* keys =
      IsDict(node.kind) ? AsOrder(OrderObject(node.kind, node.data))->inserted : Py_None;
  return data ? Py_BuildValue("(OOIO)", cls, data.get(), node.arity, keys) : nullptr;
}

Failed BadState() {
  return Raise(PyExc_ValueError, "This is not the state of a pickled PyTreeDef.");
}

struct Loader {
  explicit Loader(PyObject* given) : states(given) {}

  PyObject* states;  // tuple of the nodes' states
  Py_ssize_t next = 0;
  NodeList nodes;
  Depth depth;
};

// Reads the state of a node; that of a leaf leaves no class.
bool ReadState(PyObject* state, Root* root) {
  PyObject* cls;
  bool read = PyTuple_Check(state) &&
              PyArg_ParseTuple(state, "OOnO", &cls, &root->given, &root->arity, &root->inserted);
  if (!read || root->arity < 0) {
    PyErr_Clear();
    return BadState();
  }
  if (root->inserted == Py_None) root->inserted = nullptr;
  if (cls == Py_None) return root->arity == 0 || BadState();
  if (!PyType_Check(cls)) return BadState();
  root->type = reinterpret_cast<PyTypeObject*>(cls);
  if (!Classify(root)) return false;
  if (root->verdict.kind != Kind::kLeaf) return true;
  return Raise(PyExc_ValueError,
               "The pickled structure has a node of class %s, which is not registered here; "
               "register the class before unpickling.",
               root->type->tp_name);
}

// Loads the next subtree; returns its number of leaves, or -1.
Py_ssize_t LoadNext(Loader* loader) {
  DepthGuard guard(&loader->depth);
  if (!guard) return -1;
  if (loader->next >= PyTuple_GET_SIZE(loader->states)) return BadState();
  Root root;
  if (!ReadState(PyTuple_GET_ITEM(loader->states, loader->next++), &root)) return -1;
  if (root.type == nullptr) return loader->nodes.AddLeaves(1) ? 1 : -1;
  PyObject* data = nullptr;
  size_t at = loader->nodes.size();
  if (!NodeData(root, &data)) return -1;
  if (!loader->nodes.Add(root.verdict.kind, root.arity, data, root.verdict.registration)) return -1;
  Py_ssize_t leaves = 0;
  for (Py_ssize_t i = 0; i < root.arity; ++i) {
    Py_ssize_t more = LoadNext(loader);
    if (more < 0) return -1;
    leaves += more;
  }
  return loader->nodes.Close(at, leaves) ? leaves : -1;
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

PyObject* TreeDefReduce(PyObject* self, PyObject*) {
  Ref states(MakeTuple(Py_SIZE(self), [self](Py_ssize_t i) { return StateOf(Nodes(self)[i]); }));
  Ref make(states ? Import("pax_tree._C", "_make_treedef") : nullptr);
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
