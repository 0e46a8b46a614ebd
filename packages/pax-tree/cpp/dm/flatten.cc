// is_nested, flatten and unflatten_as.
#include "support/arguments.h"
#include "dm/rebuild.h"
#include "tree/functions.h"
#include "dict/key_order.h"
#include "core/parts.h"

namespace pax_tree::dm {
namespace {

class Flattening {
 public:
  Flattening() : leaves_(PyList_New(0)) {}
  PyObject* Run(PyObject* structure) {
    return leaves_ && Add(Ref::Borrow(structure)) ? leaves_.release() : nullptr;
  }

 private:
  bool Add(Ref object) {
    Form form;
    if (!FormOf(object.get(), &form)) return false;
    if (!form.nested) return PyList_Append(leaves_.get(), object.get()) == 0;
    DepthGuard guard(&depth_);
    if (!guard) return false;
    if (form.shape == Shape::kTuple || form.shape == Shape::kList) return AddItems(object.get());
    if (form.shape == Shape::kDict) return AddValues(object.get());
    Children children;
    return OpenValues(object.get(), form, &children) && AddItems(children.values.get());
  }

  bool AddValues(PyObject* dict) {
    SlotArray<23> values;
    Py_ssize_t size = PyDict_GET_SIZE(dict);
    if (!values.Allocate(size)) return false;
    Ref order(TakeDict(dict, size, values.data(), 1));
    if (!order || !CheckSorted(order.get())) return false;
    for (Py_ssize_t i = 0; i < size; ++i) {
      if (!Add(Ref(std::exchange(values[i], nullptr)))) return false;
    }
    return true;
  }

  bool AddItems(PyObject* sequence) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(sequence); ++i) {
      Ref item = ItemOf(sequence, i);
      if (item && !Add(std::move(item))) return false;
    }
    return true;
  }

  Ref leaves_;
  Depth depth_;
};

// Takes leaves from a sequence, and counts how many there should have been.
class Unflattening : public Rebuild {
 public:
  Unflattening(const char* function, PyObject* flat, Py_ssize_t given)
      : Rebuild(function, 1), flat_(flat), given_(given) {}
  bool TookAll() const { return taken_ == given_; }

 protected:
  PyObject* Leaf(PyObject**) override {
    Py_ssize_t i = taken_++;
    if (i >= given_) return PyErr_SetString(PyExc_ValueError, "Too few leaves."), nullptr;
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
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  Ref error(type), error_value(value), error_traceback(traceback);
  Ref leaves(Flattening().Run(structure));
  if (!leaves) return;
  Py_ssize_t count = PyList_GET_SIZE(leaves.get());
  if (count == given) {
    PyErr_Restore(error.release(), error_value.release(), error_traceback.release());
    return;
  }
  PyErr_Format(PyExc_ValueError, "%s: the structure has %zd leaves, but %zd were given: %s.",
               function, count, given, SafeRepr(structure).c_str());
}

PyObject* IsNested(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  PyObject* structure = nullptr;
  Parameter parameters[] = {{"structure", &structure}};
  if (!ReadArguments("is_nested", args, nargs, names, parameters, 1, 1, 1, false)) return nullptr;
  Form form;
  return FormOf(structure, &form) ? PyBool_FromLong(form.nested) : nullptr;
}

PyObject* Flatten(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  PyObject* structure = nullptr;
  Parameter parameters[] = {{"structure", &structure}};
  if (!ReadArguments("flatten", args, nargs, names, parameters, 1, 1, 1, false)) return nullptr;
  return Flattening().Run(structure);
}

PyObject* Unflatten(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  PyObject *structure = nullptr, *flat = nullptr;
  Parameter parameters[] = {{"structure", &structure}, {"flat_sequence", &flat}};
  if (!ReadArguments("unflatten_as", args, nargs, names, parameters, 2, 2, 2, false))
    return nullptr;
  return UnflattenAs("unflatten_as", structure, flat);
}

constexpr char kIsNestedDoc[] = R"(is_nested(structure)
--

Whether an object is a node rather than a leaf, as dm-tree's `is_nested`.

Args:
    structure: any object.

Returns:
    True for mappings and their views, sequences other than `str`, `bytes` and `bytearray`, named
    tuples and objects of attrs classes; False for everything else, None too.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.is_nested({"a": 1}), tree.is_nested("ab"), tree.is_nested(None)
    (True, False, False)
)";

constexpr char kFlattenDoc[] = R"(flatten(structure)
--

The leaves of a structure, as dm-tree's `flatten`.

Args:
    structure: any object; a leaf is a structure of one leaf.

Returns:
    The list of the leaves. Those of a mapping are in the sorted order of its keys; None is a leaf.

Raises:
    TypeError: the keys of a mapping do not sort.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.flatten({"b": [1, None], "a": (2, "text")})
    [2, 'text', 1, None]
)";

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

}  // namespace

PyObject* UnflattenAs(const char* function, PyObject* structure, PyObject* flat) {
  Form form;
  if (!FormOf(flat, &form)) return nullptr;
  if (!form.nested) {
    return PyErr_Format(PyExc_TypeError,
                        "%s: the leaves must be a sequence, but are %s of type %s.", function,
                        SafeRepr(flat).c_str(), Py_TYPE(flat)->tp_name);
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

PyMethodDef flatten_methods[] = {
    {"is_nested", FastCall(IsNested), METH_FASTCALL | METH_KEYWORDS, kIsNestedDoc},
    {"flatten", FastCall(Flatten), METH_FASTCALL | METH_KEYWORDS, kFlattenDoc},
    {"unflatten_as", FastCall(Unflatten), METH_FASTCALL | METH_KEYWORDS, kUnflattenDoc},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree::dm
