// traverse and traverse_with_path.
#include "dm/dm.h"
#include "support/arguments.h"
#include "support/sequence.h"
#include "tree/functions.h"

namespace pax_tree::dm {

PyObject* map_to_none = nullptr;

namespace {

class Traversal {
 public:
  Traversal(PyObject* f, bool top_down, bool with_path)
      : f_(f), top_down_(top_down), with_path_(with_path) {}
  PyObject* Visit(PyObject* object);

 private:
  PyObject* Call(PyObject* object);
  PyObject* Descend(PyObject* object);
  PyObject* Child(const Children& opened, Py_ssize_t i);

  PyObject* f_;
  bool top_down_;
  bool with_path_;
  Depth depth_;
  std::vector<Ref> path_;
};

PyObject* Traversal::Call(PyObject* object) {
  if (!with_path_) return PyObject_CallOneArg(f_, object);
  Ref path(MakeTuple(static_cast<Py_ssize_t>(path_.size()),
                     [this](Py_ssize_t i) { return Py_NewRef(path_[i].get()); }));
  return path ? PyObject_CallFunctionObjArgs(f_, path.get(), object, nullptr) : nullptr;
}

PyObject* Traversal::Child(const Children& opened, Py_ssize_t i) {
  if (!with_path_) return Visit(opened[i]);
  Ref key(opened.Key(i));
  if (!key) return nullptr;
  path_.push_back(std::move(key));
  PyObject* result = Visit(opened[i]);
  path_.pop_back();
  return result;
}

PyObject* Traversal::Descend(PyObject* object) {
  Form form;
  if (!FormOf(object, &form)) return nullptr;
  if (!form.nested) return Py_NewRef(object);
  DepthGuard guard(&depth_);
  Children opened;
  Slots results;
  if (!guard || !OpenItems(object, form, &opened)) return nullptr;
  if (!results.Allocate(opened.size())) return nullptr;
  for (Py_ssize_t i = 0; i < opened.size(); ++i) {
    results[i] = Child(opened, i);
    if (results[i] == nullptr) return nullptr;
  }
  return BuildLike(object, form, opened, results.data());
}

// What the function said, in place of what stood there if it said nothing.
PyObject* Replacement(PyObject* said, PyObject* unless) {
  Ref answer(said), otherwise(unless);
  if (answer.get() == map_to_none) return Py_NewRef(Py_None);
  return answer.get() == Py_None ? otherwise.release() : answer.release();
}

PyObject* Traversal::Visit(PyObject* object) {
  Ref below(top_down_ ? nullptr : Descend(object));
  if (!top_down_ && !below) return nullptr;
  Ref said(Call(top_down_ ? object : below.get()));
  if (!said) return nullptr;
  if (top_down_ && said.get() == Py_None) return Descend(object);
  return Replacement(said.release(), below.release());
}

template <bool with_path>
PyObject* Traverse(const Call& call) {
  PyObject *f = nullptr, *structure = nullptr, *order = nullptr;
  if (!Read(call, {{"fn", &f}, {"structure", &structure}, {"top_down", &order}}, 3, 2)) {
    return nullptr;
  }
  int top_down = Truth(order, true);
  return top_down < 0 ? nullptr : Traversal(f, top_down == 1, with_path).Visit(structure);
}

constexpr char kTraverseDoc[] = R"(traverse(fn, structure, top_down=True)
--

Visits every node and leaf of a structure, as dm-tree's `traverse`.

Args:
    fn: called with a node or leaf. None keeps it, and anything else is put in its place; to put
        None there, `MAP_TO_NONE` is returned.
    structure: any object.
    top_down: whether a node comes before its children, which are not visited if it is replaced;
        otherwise it comes after them, already holding what replaces them.

Returns:
    The structure with what was put in place.

Raises:
    TypeError: the keys of a mapping do not sort, or a class does not take its fields.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.traverse(lambda x: "pair" if x == (1, 2) else None, [(1, 2), {"a": 3}])
    ['pair', {'a': 3}]
    >>> tree.traverse(lambda x: tree.MAP_TO_NONE if x == 3 else None, [(1, 2), {"a": 3}])
    [(1, 2), {'a': None}]
)";

constexpr char kTraverseWithPathDoc[] = R"(traverse_with_path(fn, structure, top_down=True)
--

`traverse` with paths, as dm-tree's `traverse_with_path`.

Args:
    fn: called as `fn(path, node or leaf)`; paths are those of `flatten_with_path`.
    structure: as for `traverse`.
    top_down: as for `traverse`.

Returns:
    The structure with what was put in place.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.traverse_with_path(lambda path, x: path if x == 2 else None, {"a": [1, 2]})
    {'a': [1, ('a', 1)]}
)";

}  // namespace

PyMethodDef traverse_methods[] = {
    Method<Traverse<false>>("traverse", kTraverseDoc),
    Method<Traverse<true>>("traverse_with_path", kTraverseWithPathDoc),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree::dm
