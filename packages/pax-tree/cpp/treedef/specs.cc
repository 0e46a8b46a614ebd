// Structures whose records have other specs.
#include <cstring>

#include "record/spec.h"
#include "support/errors.h"
#include "treedef/treedef.h"

namespace pax_tree {
namespace {

// The spec that a function makes of one, which is asked once for each.
PyObject* ChangedSpec(PyObject* known, PyObject* change, PyObject* spec) {
  PyObject* found = PyDict_GetItemWithError(known, spec);
  if (found != nullptr) return Py_NewRef(found);
  if (PyErr_Occurred()) return nullptr;
  Ref made(PyObject_CallOneArg(change, spec));
  if (!made) return nullptr;
  if (!Py_IS_TYPE(made.get(), record_spec_type) ||
      NumChildren(AsSpec(made.get())) != NumChildren(AsSpec(spec))) {
    return Raise(PyExc_TypeError, "A changed spec must be one with as many children, but got %R.",
                 made.get());
  }
  return PyDict_SetItem(known, spec, made.get()) < 0 ? nullptr : made.release();
}

// What to do with the subtree under a child of a record: walk over it, pass it by, keep its leaves.
enum Mark : char { kWalk, kPass, kKeep };

// Marks the children of a record by their kinds.
template <typename MarkOf>
void MarkChildren(const Node* nodes, size_t at, MarkOf mark_of, char* marks) {
  RecordSpec* spec = AsSpec(nodes[at].data);
  size_t child = at + 1;
  for (Py_ssize_t i = 0; i < NumChildren(spec); ++i) {
    marks[child] = mark_of(KindAt(spec, i));
    child += nodes[child].num_nodes;
  }
}

// So many marks, all of them kWalk.
PyObject* Marks(Py_ssize_t size) {
  Ref marks(PyBytes_FromStringAndSize(nullptr, size));
  if (marks) memset(PyBytes_AS_STRING(marks.get()), kWalk, static_cast<size_t>(size));
  return marks.release();
}

}  // namespace

// _with_specs(treedef, past, change): the structure with `change(spec)` for the spec of each record
// that is in no child of the kind `past`.
PyObject* TreeDefWithSpecs(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 3 || !Py_IS_TYPE(args[0], treedef_type)) {
    return Raise(PyExc_TypeError, "_with_specs takes a PyTreeDef, a kind and a function.");
  }
  long past = PyLong_AsLong(args[1]);
  if (past == -1 && PyErr_Occurred()) return nullptr;
  const Node* nodes = Nodes(args[0]);
  auto size = static_cast<size_t>(Py_SIZE(args[0]));
  Ref known(PyDict_New()), marks(Marks(Py_SIZE(args[0])));
  if (!known || !marks) return nullptr;
  char* mark = PyBytes_AS_STRING(marks.get());
  NodeList made;
  if (!made.AddCopies(nodes, size)) return nullptr;
  for (size_t i = 0; i < size;) {
    if (mark[i] != kWalk) {
      i += nodes[i].num_nodes;
      continue;
    }
    if (nodes[i].kind == Kind::kRecord) {
      MarkChildren(nodes, i, [past](int kind) { return kind == past ? kPass : kWalk; }, mark);
      Ref spec(ChangedSpec(known.get(), args[2], nodes[i].data));
      if (!spec) return nullptr;
      Py_SETREF(made[i].data, spec.release());
    }
    ++i;
  }
  return made.Finish();
}

namespace {

// Whether a function says so of the class of a record, of which it is asked once; -1 on an error.
int IsPlain(PyObject* known, PyObject* is_plain, PyObject* cls) {
  PyObject* found = PyDict_GetItemWithError(known, cls);
  if (found != nullptr) return found == Py_True;
  if (PyErr_Occurred()) return -1;
  Ref answer(PyObject_CallOneArg(is_plain, cls));
  int plain = answer ? PyObject_IsTrue(answer.get()) : -1;
  if (plain < 0) return -1;
  return PyDict_SetItem(known, cls, plain ? Py_True : Py_False) < 0 ? -1 : plain;
}

// The leaves that are kept, while a structure is walked.
struct LeavesOfKind {
  const Node* nodes;
  char *mark, *kept;
  long through, kind;
  Py_ssize_t leaf = 0;

  bool HasRecords(size_t at) const {
    for (size_t i = at; i < at + nodes[at].num_nodes; ++i) {
      if (nodes[i].kind == Kind::kRecord) return true;
    }
    return false;
  }

  // Takes the whole subtree at once, if it is one that is passed by or kept; says how many nodes.
  size_t Take(size_t at) {
    const Node& node = nodes[at];
    if (mark[at] == kWalk || (mark[at] == kKeep && HasRecords(at))) return 0;
    if (mark[at] == kKeep) memset(kept + leaf, 1, node.num_leaves);
    leaf += node.num_leaves;
    return node.num_nodes;
  }

  // Marks what is below a node that is walked over. A record says itself what is kept of it.
  void Enter(size_t at) {
    const Node& node = nodes[at];
    leaf += node.kind == Kind::kLeaf;
    if (node.kind == Kind::kRecord) {
      auto mark_of = [this](int own) {
        return own == through ? kWalk : own == kind ? kKeep : kPass;
      };
      MarkChildren(nodes, at, mark_of, mark);
    } else if (mark[at] == kKeep) {
      for (size_t i = at + 1; i < at + node.num_nodes; i += nodes[i].num_nodes) mark[i] = kKeep;
    }
  }
};

}  // namespace

// _leaves_of_kind(treedef, through, kind, is_plain): for each leaf whether it is in a child of
// `kind` of the record that is nearest around it, and that record in none, or in others by children
// of this kind or of the kind `through`; None if the class of such a record is not plain.
PyObject* TreeDefLeavesOfKind(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 4 || !Py_IS_TYPE(args[0], treedef_type)) {
    return Raise(PyExc_TypeError, "_leaves_of_kind takes a PyTreeDef, two kinds and a function.");
  }
  long through = PyLong_AsLong(args[1]), kind = PyLong_AsLong(args[2]);
  if (PyErr_Occurred()) return nullptr;
  const Node* nodes = Nodes(args[0]);
  auto size = static_cast<size_t>(Py_SIZE(args[0]));
  Ref known(PyDict_New()), marks(Marks(Py_SIZE(args[0]))), mask(Marks(nodes[0].num_leaves));
  if (!known || !marks || !mask) return nullptr;
  LeavesOfKind walk{nodes, PyBytes_AS_STRING(marks.get()), PyBytes_AS_STRING(mask.get()), through,
                    kind};
  for (size_t i = 0; i < size;) {
    if (size_t taken = walk.Take(i)) {
      i += taken;
      continue;
    }
    if (nodes[i].kind == Kind::kRecord) {
      auto* cls = reinterpret_cast<PyObject*>(AsSpec(nodes[i].data)->cls);
      int plain = IsPlain(known.get(), args[3], cls);
      if (plain < 0) return nullptr;
      if (plain == 0) Py_RETURN_NONE;
    }
    walk.Enter(i++);
  }
  return mask.release();
}

}  // namespace pax_tree
