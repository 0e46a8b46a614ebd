// Copying a structure with other leaves, in one pass: map_structure and unflatten_as.
#include "core/node.h"
#include "core/parts.h"
#include "dm/dm.h"
#include "support/arguments.h"
#include "support/errors.h"
#include "tree/functions.h"

namespace pax_tree::dm {
namespace {

// Visits the leaves of some structures side by side, and builds one like the first. A column is
// one object of each, held by the caller, with a slot before it.
class Rebuild {
 public:
  Rebuild(const char* function, Py_ssize_t count) : function_(function), count_(count) {}
  virtual ~Rebuild() = default;
  PyObject* Column(PyObject** column) {
    Form form;
    if (!FormOf(column[0], &form)) return nullptr;
    return form.nested ? Node(column, form) : Leaf(column);
  }

 protected:
  virtual PyObject* Leaf(PyObject** column) = 0;
  const char* function_;
  Py_ssize_t count_;

 private:
  PyObject* Node(PyObject** column, Form form);
  PyObject* Plain(PyObject** column, Kind kind);
  PyObject* Other(PyObject** column, Form form);
  bool TakeRest(PyObject** column, PyObject* order, Py_ssize_t size, PyObject** slots);
  bool TakeOne(PyObject* object, PyObject* order, Py_ssize_t size, PyObject** out);
  bool ReplaceAll(Py_ssize_t size, PyObject** slots);

  Depth depth_;
};

// The children of one node in all structures: slots[i * count + structure].
using Columns = SlotArray<23>;

Kind KindOf(Shape shape) {
  if (shape == Shape::kDict) return Kind::kDict;
  return shape == Shape::kList ? Kind::kList : Kind::kTuple;
}

bool CopyItems(const Children& children, PyObject** out, Py_ssize_t stride) {
  for (Py_ssize_t i = 0; i < children.size(); ++i) out[i * stride] = Py_NewRef(children[i]);
  return true;
}

// Takes the children of a further structure's node, in the order of the leaves. `order` is that of
// the first structure's dict, or null.
bool Rebuild::TakeOne(PyObject* object, PyObject* order, Py_ssize_t size, PyObject** out) {
  if (PyDict_CheckExact(object) && order != nullptr) {
    if (TakeValues(object, AsOrder(order), out, count_)) return true;
  } else if (PyTuple_CheckExact(object) && PyTuple_GET_SIZE(object) == size) {
    return TakeTuple(object, out, count_);
  } else if (PyList_CheckExact(object) && TakeList(object, size, out, count_)) {
    return true;
  }
  Form form;
  Children children;
  if (!FormOf(object, &form) || !OpenValues(object, form, &children)) return false;
  if (children.size() == size) return CopyItems(children, out, count_);
  return Raise(PyExc_ValueError, "%s: an object of type %s changed while it was in use.", function_,
               Py_TYPE(object)->tp_name);
}

bool Rebuild::TakeRest(PyObject** column, PyObject* order, Py_ssize_t size, PyObject** slots) {
  for (Py_ssize_t k = 1; k < count_; ++k) {
    if (!TakeOne(column[k], order, size, slots + k)) return false;
  }
  return true;
}

// Puts each new child in the place of what it was made of: slot i is used up by then.
bool Rebuild::ReplaceAll(Py_ssize_t size, PyObject** slots) {
  for (Py_ssize_t i = 0; i < size; ++i) {
    PyObject** child = slots + i * count_;
    PyObject* result = Column(child);
    if (result == nullptr) return false;
    for (Py_ssize_t k = 0; k < count_; ++k) Py_CLEAR(child[k]);
    slots[i] = result;
  }
  return true;
}

PyObject* Rebuild::Plain(PyObject** column, Kind kind) {
  Columns columns;
  PyObject* data = nullptr;
  Py_ssize_t size = PlainSize(column[0], kind);
  if (!columns.Allocate(size * count_)) return nullptr;
  bool taken = TakePlain(column[0], kind, size, columns.data(), count_, &data);
  Ref order(data);
  if (!taken || (order && !CheckSorted(order.get()))) return nullptr;
  if (!TakeRest(column, order.get(), size, columns.data())) return nullptr;
  if (!ReplaceAll(size, columns.data())) return nullptr;
  return Build({kind, nullptr, order.get(), size}, columns.data());
}

PyObject* Rebuild::Other(PyObject** column, Form form) {
  Columns columns;
  Children opened;
  if (!OpenValues(column[0], form, &opened)) return nullptr;
  if (!columns.Allocate(opened.size() * count_)) return nullptr;
  CopyItems(opened, columns.data(), count_);
  if (!TakeRest(column, nullptr, opened.size(), columns.data())) return nullptr;
  if (!ReplaceAll(opened.size(), columns.data())) return nullptr;
  return BuildLike(column[0], form, opened, columns.data());
}

PyObject* Rebuild::Node(PyObject** column, Form form) {
  DepthGuard guard(&depth_);
  if (!guard) return nullptr;
  bool plain =
      form.shape == Shape::kDict || form.shape == Shape::kList || form.shape == Shape::kTuple;
  return plain ? Plain(column, KindOf(form.shape)) : Other(column, form);
}

// Takes leaves from a sequence, and counts how many there should have been.
class Unflattening : public Rebuild {
 public:
  Unflattening(const char* function, PyObject* flat, Py_ssize_t given)
      : Rebuild(function, 1), flat_(flat), given_(given) {}
  bool TookAll() const { return taken_ == given_; }

 protected:
  PyObject* Leaf(PyObject**) override {
    Py_ssize_t i = taken_++;
    if (i >= given_) return Raise(PyExc_ValueError, "Too few leaves.");
    if (PyList_CheckExact(flat_) || PyTuple_CheckExact(flat_)) {
      return PySequence_GetItem(flat_, i);
    }
    Ref index(PyLong_FromSsize_t(i));
    return index ? PyObject_GetItem(flat_, index.get()) : nullptr;
  }

 private:
  PyObject* flat_;
  Py_ssize_t given_;
  Py_ssize_t taken_ = 0;
};

// Says that the leaves are not as many as given, in place of the pending error. If they are, it
// stays.
void RaiseCount(const char* function, PyObject* structure, Py_ssize_t given) {
  HeldError error;
  Ref leaves(Flatten(structure));
  if (!leaves) return;
  Py_ssize_t count = PyList_GET_SIZE(leaves.get());
  if (count == given) return error.Restore();
  PyErr_Format(PyExc_ValueError, "%s: the structure has %zd leaves, but %zd were given: %s.",
               function, count, given, SafeRepr(structure).c_str());
}

class Mapping : public Rebuild {
 public:
  Mapping(const char* function, PyObject* f, Py_ssize_t count) : Rebuild(function, count), f_(f) {
    // The interpreter's own functions keep the rules that PyObject_Vectorcall checks.
    call_ = PyFunction_Check(f) ? PyVectorcall_Function(f) : PyObject_Vectorcall;
  }

 protected:
  PyObject* Leaf(PyObject** column) override {
    size_t count = static_cast<size_t>(count_) | PY_VECTORCALL_ARGUMENTS_OFFSET;
    return call_(f_, column, count, nullptr);
  }

 private:
  PyObject* f_;
  vectorcallfunc call_;
};

bool CheckGiven(const Call& call) {
  const char* name = call.function;
  if (call.nargs == 0) {
    return Raise(PyExc_TypeError, "%s() needs a function and at least one structure.", name);
  }
  if (!PyCallable_Check(call.args[0])) {
    return Raise(PyExc_TypeError, "%s() takes a function first, but got %s.", name,
                 SafeRepr(call.args[0]).c_str());
  }
  return call.nargs > 1 || Raise(PyExc_ValueError, "%s() needs at least one structure.", name);
}

PyObject* MapStructure(const Call& call) {
  bool check_types = true;
  if (!CheckGiven(call) || !ReadCheckTypes(call, &check_types)) return nullptr;
  Py_ssize_t count = call.nargs - 1;
  for (Py_ssize_t k = 2; k <= count; ++k) {
    if (!CheckSame(call.function, call.args[1], call.args[k], check_types)) return nullptr;
  }
  Slots column;
  if (!column.Allocate(count)) return nullptr;
  for (Py_ssize_t k = 0; k < count; ++k) column[k] = Py_NewRef(call.args[k + 1]);
  return Mapping(call.function, call.args[0], count).Column(column.data());
}

PyObject* UnflattenFunction(const Call& call) {
  PyObject *structure = nullptr, *flat = nullptr;
  if (!Read(call, {{"structure", &structure}, {"flat_sequence", &flat}}, 2, 2)) return nullptr;
  return UnflattenAs(call.function, structure, flat);
}

constexpr char kUnflattenDoc[] = R"(unflatten_as(structure, flat_sequence)
--

Puts leaves into a structure, as dm-tree's `unflatten_as`.

Args:
    structure: what the result looks like; its own leaves are not used.
    flat_sequence: the new leaves, in the order of `flatten`.

Returns:
    The structure with the new leaves. Dicts have the order of the keys in `structure`.

Raises:
    TypeError: `flat_sequence` is not a sequence, the keys of a mapping do not sort, or a class
        does not take its fields.
    ValueError: there are more or fewer leaves than the structure has.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.unflatten_as({"b": [0, 0], "a": 0}, [1, 2, 3])
    {'b': [2, 3], 'a': 1}
)";

constexpr char kMapDoc[] = R"(map_structure(func, *structures, check_types=True)
--

Applies a function to every leaf of structures, as dm-tree's `map_structure`.

Args:
    func: called as `func(leaf, *others)`, in the order of `flatten`.
    *structures: one or more of the same structure; this is seen before the first call.
    check_types: whether nodes must be of the same type and mappings have the same keys;
        otherwise the number of children is enough. Types are as in `assert_same_structure`.

Returns:
    The first structure with the results as leaves.

Raises:
    TypeError: `func` cannot be called, the keys of a mapping do not sort, or types differ.
    ValueError: the structures differ, there is none, or another keyword is given.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.map_structure(lambda x, y: x + y, {"a": [1, 2]}, {"a": [10, 20]})
    {'a': [11, 22]}
)";

}  // namespace

PyObject* UnflattenAs(const char* function, PyObject* structure, PyObject* flat) {
  Form form;
  if (!FormOf(flat, &form)) return nullptr;
  if (!form.nested) {
    return Raise(PyExc_TypeError, "%s: the leaves must be a sequence, but are %s of type %s.",
                 function, SafeRepr(flat).c_str(), Py_TYPE(flat)->tp_name);
  }
  Py_ssize_t given = PyObject_Size(flat);
  if (given < 0) return nullptr;
  Unflattening leaves(function, flat, given);
  PyObject* column[2] = {nullptr, structure};
  Ref result(leaves.Column(column + 1));
  if (result && leaves.TookAll()) return result.release();
  if (result) PyErr_SetString(PyExc_ValueError, "Too many leaves.");
  if (PyErr_ExceptionMatches(PyExc_Exception)) RaiseCount(function, structure, given);
  return nullptr;
}

PyMethodDef map_methods[] = {
    Method<MapStructure>("map_structure", kMapDoc),
    Method<UnflattenFunction>("unflatten_as", kUnflattenDoc),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree::dm
