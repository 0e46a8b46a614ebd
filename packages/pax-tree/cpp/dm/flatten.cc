// is_nested and flatten.
#include "core/parts.h"
#include "dict/key_order.h"
#include "dm/dm.h"
#include "support/arguments.h"
#include "tree/functions.h"

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

PyObject* IsNested(const Call& call) {
  PyObject* structure = nullptr;
  Form form;
  if (!Read(call, {{"structure", &structure}}, 1, 1)) return nullptr;
  return FormOf(structure, &form) ? PyBool_FromLong(form.nested) : nullptr;
}

PyObject* FlattenFunction(const Call& call) {
  PyObject* structure = nullptr;
  return Read(call, {{"structure", &structure}}, 1, 1) ? Flatten(structure) : nullptr;
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

}  // namespace

PyObject* Flatten(PyObject* structure) { return Flattening().Run(structure); }

PyMethodDef flatten_methods[] = {
    Method<IsNested>("is_nested", kIsNestedDoc),
    Method<FlattenFunction>("flatten", kFlattenDoc),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree::dm
