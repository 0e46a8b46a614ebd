// assert_same_structure and assert_shallow_structure.
#include "core/parts.h"
#include "dict/key_order.h"
#include "dm/dm.h"
#include "support/arguments.h"
#include "support/errors.h"
#include "tree/functions.h"

namespace pax_tree::dm {
namespace {

bool IsMapping(Form form) { return form.shape == Shape::kDict || form.shape == Shape::kMapping; }

using Values = SlotArray<23>;

// A comparison of two structures, and the first difference that it finds.
class Difference {
 public:
  Difference(const char* function, bool check_types)
      : function_(function), check_types_(check_types) {}
  // Raises for the difference found, if no other error is set. `prefix` is a path above the root,
  // or null. Always false.
  bool Raise(PyObject* prefix = nullptr) {
    if (PyErr_Occurred()) return false;
    bool given = prefix != nullptr && prefix != Py_None;
    Ref above(given ? PySequence_Tuple(prefix) : PyTuple_New(0));
    if (!above) return false;
    for (Py_ssize_t i = PyTuple_GET_SIZE(above.get()); i > 0; --i) {
      place_.push_back(Ref::Borrow(PyTuple_GET_ITEM(above.get(), i - 1)));
    }
    RaiseAt(error_, function_, place_, what_);
    return false;
  }

 protected:
  bool Differ(PyObject* error, const std::string& what) {
    error_ = error;
    what_ = what;
    return false;
  }

  const char* function_;
  bool check_types_;
  Depth depth_;
  std::vector<Ref> place_;

 private:
  PyObject* error_ = nullptr;
  std::string what_;
};

class Comparison : public Difference {
 public:
  using Difference::Difference;
  bool Same(PyObject* a, PyObject* b);

 private:
  bool SameNodes(PyObject* a, Form form_a, PyObject* b, Form form_b);
  bool SameSequences(PyObject* a, Form form_a, PyObject* b, Form form_b);
  bool SameDicts(PyObject* a, PyObject* b, bool* known);
  bool SameOthers(PyObject* a, Form form_a, PyObject* b, Form form_b);
  bool SameTypes(PyObject* a, Form form_a, PyObject* b, Form form_b);
  bool SameKeys(PyObject* a, Form form_a, PyObject* b, Form form_b);
  bool SameChildren(const Children& a, const Children& b);
  bool SameChild(PyObject* a, PyObject* b, PyObject* key, Py_ssize_t i);
  bool Differ(PyObject* error, PyObject* a, Form form_a, PyObject* b, Form form_b) {
    return Difference::Differ(error, "the first structure has " + DescribeForm(a, form_a) +
                                         ", the other has " + DescribeForm(b, form_b) + ".");
  }
};

// Compares children, and if they differ adds where: under the key, or null for the index.
bool Comparison::SameChild(PyObject* a, PyObject* b, PyObject* key, Py_ssize_t i) {
  if (Same(a, b)) return true;
  if (!PyErr_Occurred()) {
    place_.emplace_back(key == nullptr ? PyLong_FromSsize_t(i) : Py_NewRef(key));
  }
  return false;
}

bool Comparison::SameSequences(PyObject* a, Form form_a, PyObject* b, Form form_b) {
  for (Py_ssize_t i = 0; i < Py_SIZE(a) && i < Py_SIZE(b); ++i) {
    Ref first = ItemOf(a, i), second = ItemOf(b, i);
    if (first && second && !SameChild(first.get(), second.get(), nullptr, i)) return false;
  }
  return Py_SIZE(a) == Py_SIZE(b) || Differ(PyExc_ValueError, a, form_a, b, form_b);
}

// Compares dicts that have the same keys in the same order; `known` says if they have.
bool Comparison::SameDicts(PyObject* a, PyObject* b, bool* known) {
  Values first, second;
  Py_ssize_t size = PyDict_GET_SIZE(a);
  if (!first.Allocate(size) || !second.Allocate(size)) return false;
  Ref order(TakeDict(a, size, first.data(), 1));
  if (!order) return false;
  KeyOrder* keys = AsOrder(order.get());
  *known = PyDict_GET_SIZE(b) == size && TakeValues(b, keys, second.data(), 1);
  if (*known && !CheckSorted(order.get())) return false;
  for (Py_ssize_t i = 0; *known && i < size; ++i) {
    if (!SameChild(first[i], second[i], PyTuple_GET_ITEM(keys->sorted, i), i)) return false;
  }
  return *known;
}

bool Comparison::SameTypes(PyObject* a, Form form_a, PyObject* b, Form form_b) {
  int named = IsPlainNamedTuple(a);
  if (named == 1) named = IsPlainNamedTuple(b);
  if (named < 0) return false;
  if (named == 1) {
    int same = SameNamedTuples(a, b);
    return same == 1 || (same == 0 && Differ(PyExc_TypeError, a, form_a, b, form_b));
  }
  bool same = Py_TYPE(a) == Py_TYPE(b) || (PyList_Check(a) && PyList_Check(b)) ||
              (IsMapping(form_a) && IsMapping(form_b));
  return same || Differ(PyExc_TypeError, a, form_a, b, form_b);
}

// Whether a mapping has a key; -1 with an error set.
int HasKey(PyObject* mapping, PyObject* key) {
  if (PyDict_Check(mapping)) return PyDict_Contains(mapping, key);
  if (Ref(PyObject_GetItem(mapping, key))) return 1;
  if (!PyErr_ExceptionMatches(PyExc_LookupError)) return -1;
  PyErr_Clear();
  return 0;
}

int HasKeys(PyObject* mapping, PyObject* keys) {
  int has = 1;
  for (Py_ssize_t i = 0; has == 1 && i < PyList_GET_SIZE(keys); ++i) {
    has = HasKey(mapping, PyList_GET_ITEM(keys, i));
  }
  return has;
}

bool Comparison::SameKeys(PyObject* a, Form form_a, PyObject* b, Form form_b) {
  bool dicts = PyDict_Check(a) && PyDict_Check(b);
  Py_ssize_t size = PyObject_Size(a), other = size < 0 ? -1 : PyObject_Size(b);
  if (other < 0) return false;
  if (size != other) return Differ(PyExc_ValueError, a, form_a, b, form_b);
  Ref keys(dicts ? PyDict_Keys(a) : PySequence_List(a));
  int has = keys ? HasKeys(b, keys.get()) : -1;
  return has == 1 || (has == 0 && Differ(PyExc_ValueError, a, form_a, b, form_b));
}

bool Comparison::SameChildren(const Children& a, const Children& b) {
  for (Py_ssize_t i = 0; i < a.size() && i < b.size(); ++i) {
    Ref key(a.Key(i));
    if (!key || !SameChild(a[i], b[i], key.get(), i)) return false;
  }
  return true;
}

bool Comparison::SameOthers(PyObject* a, Form form_a, PyObject* b, Form form_b) {
  Ref first(check_types_ ? Unwrapped(a, form_a) : Py_NewRef(a));
  Ref second(first ? (check_types_ ? Unwrapped(b, form_b) : Py_NewRef(b)) : nullptr);
  if (!second) return false;
  a = first.get(), b = second.get();
  if (!FormOf(a, &form_a) || !FormOf(b, &form_b)) return false;
  if (check_types_ && !SameTypes(a, form_a, b, form_b)) return false;
  if (check_types_ && IsMapping(form_a) && !SameKeys(a, form_a, b, form_b)) return false;
  Children opened, other;
  if (!OpenValues(a, form_a, &opened) || !OpenValues(b, form_b, &other)) return false;
  if (!SameChildren(opened, other)) return false;
  return opened.size() == other.size() || Differ(PyExc_ValueError, a, form_a, b, form_b);
}

bool Comparison::SameNodes(PyObject* a, Form form_a, PyObject* b, Form form_b) {
  if (form_a.shape != form_b.shape) return SameOthers(a, form_a, b, form_b);
  if (form_a.shape == Shape::kTuple || form_a.shape == Shape::kList) {
    return SameSequences(a, form_a, b, form_b);
  }
  bool known = false;
  if (form_a.shape == Shape::kDict) {
    bool same = SameDicts(a, b, &known);
    if (known || PyErr_Occurred()) return same;
  }
  return SameOthers(a, form_a, b, form_b);
}

bool Comparison::Same(PyObject* a, PyObject* b) {
  Form form_a, form_b;
  if (!FormOf(a, &form_a) || !FormOf(b, &form_b)) return false;
  if (form_a.nested != form_b.nested) return Differ(PyExc_ValueError, a, form_a, b, form_b);
  if (!form_a.nested) return true;
  DepthGuard guard(&depth_);
  return guard && SameNodes(a, form_a, b, form_b);
}

PyObject* AssertSameStructure(const Call& call) {
  PyObject *a = nullptr, *b = nullptr, *check = nullptr;
  if (!Read(call, {{"a", &a}, {"b", &b}, {"check_types", &check}}, 3, 2)) return nullptr;
  int check_types = Truth(check, true);
  if (check_types < 0 || !CheckSame(call.function, a, b, check_types == 1)) return nullptr;
  Py_RETURN_NONE;
}

constexpr char kSameDoc[] = R"(assert_same_structure(a, b, check_types=True)
--

Raises unless two structures are nested in the same way, as dm-tree's `assert_same_structure`.

Args:
    a: a structure.
    b: another.
    check_types: whether nodes must be of the same type, and mappings have the same keys. Two
        named tuples of one name and the same fields are of the same type, and so are any two
        mappings, and any two lists whatever their subclass; a `wrapt.ObjectProxy` is what it
        wraps. Otherwise the number of children is enough.

Raises:
    TypeError: types of nodes differ, or the keys of a mapping do not sort.
    ValueError: a node stands where the other has a leaf, or has other keys or another number of
        children. The message names the first such place.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.assert_same_structure({"a": [1, 2]}, {"a": [3, None]})
    >>> tree.assert_same_structure({"a": [1, 2]}, {"a": [3, [4]]})
    Traceback (most recent call last):
    ValueError: assert_same_structure: at the path ('a', 1): the first structure has a leaf of type
    int, the other has a list of 1 element.
)";

class Shallow : public Difference {
 public:
  using Difference::Difference;
  bool Fits(PyObject* shallow, PyObject* input);

 private:
  bool FitsType(PyObject* shallow, Form form, PyObject* input, Form input_form);
  bool FitsSize(PyObject* shallow, Form form, PyObject* input, Form input_form);
  bool FitsChildren(PyObject* shallow, Form form, PyObject* input, Form input_form);
  bool Differ(PyObject* error, PyObject* shallow, Form form, PyObject* input, Form input_form) {
    return Difference::Differ(error, "the shallow structure has " + DescribeForm(shallow, form) +
                                         ", but the input structure has " +
                                         DescribeForm(input, input_form) + ".");
  }
};

bool Shallow::FitsType(PyObject* shallow, Form form, PyObject* input, Form input_form) {
  Ref wrapped(Unwrapped(shallow, form));
  if (!wrapped) return false;
  int fits = PyObject_IsInstance(input, reinterpret_cast<PyObject*>(Py_TYPE(wrapped.get())));
  if (fits == 0 && form.shape == Shape::kNamedTuple && input_form.shape == Shape::kNamedTuple) {
    fits = SameNamedTuples(shallow, input);
  } else if (fits == 0) {
    fits = IsMapping(form) && IsMapping(input_form);
  }
  return fits == 1 || (fits == 0 && Differ(PyExc_TypeError, shallow, form, input, input_form));
}

// The number of children without asking for them; -1 with an error set.
Py_ssize_t SizeOf(PyObject* object, Form form) {
  if (form.shape != Shape::kAttrs) return PyObject_Size(object);
  Children children;
  return OpenValues(object, form, &children) ? children.size() : -1;
}

bool Shallow::FitsSize(PyObject* shallow, Form form, PyObject* input, Form input_form) {
  Py_ssize_t size = SizeOf(shallow, form), other = size < 0 ? -1 : SizeOf(input, input_form);
  if (other < 0) return false;
  return size == other || Differ(PyExc_ValueError, shallow, form, input, input_form);
}

// The first child from `*from` on with this key, which is then passed. -1 if there is none, -2 with
// an error set.
Py_ssize_t FindKey(const Children& children, PyObject* key, Py_ssize_t* from) {
  for (Py_ssize_t i = *from; i < children.size(); ++i) {
    Ref other(children.Key(i));
    int same = other ? PyObject_RichCompareBool(other.get(), key, Py_EQ) : -1;
    if (same < 0) return -2;
    if (same == 1) return *from = i + 1, i;
  }
  return -1;
}

bool Shallow::FitsChildren(PyObject* shallow, Form form, PyObject* input, Form input_form) {
  Children expected, given;
  if (!OpenItems(shallow, form, &expected) || !OpenItems(input, input_form, &given)) return false;
  Py_ssize_t from = 0;
  for (Py_ssize_t i = 0; i < expected.size(); ++i) {
    Ref key(expected.Key(i));
    Py_ssize_t found = key ? FindKey(given, key.get(), &from) : -2;
    if (found == -1) return Differ(PyExc_ValueError, shallow, form, input, input_form);
    if (found >= 0 && Fits(expected[i], given[found])) continue;
    if (!PyErr_Occurred()) place_.push_back(std::move(key));
    return false;
  }
  return true;
}

bool Shallow::Fits(PyObject* shallow, PyObject* input) {
  Form form, input_form;
  if (!FormOf(shallow, &form) || !FormOf(input, &input_form)) return false;
  if (!form.nested) return true;
  if (!input_form.nested) return Differ(PyExc_TypeError, shallow, form, input, input_form);
  DepthGuard guard(&depth_);
  if (!guard || (check_types_ && !FitsType(shallow, form, input, input_form))) return false;
  return FitsSize(shallow, form, input, input_form) &&
         FitsChildren(shallow, form, input, input_form);
}

PyObject* AssertShallowStructure(const Call& call) {
  PyObject *shallow = nullptr, *input = nullptr, *path = nullptr, *check = nullptr;
  if (!Read(call,
            {{"shallow_tree", &shallow},
             {"input_tree", &input},
             {"path", &path},
             {"check_types", &check}},
            4, 2)) {
    return nullptr;
  }
  int check_types = Truth(check, true);
  if (check_types < 0) return nullptr;
  if (!CheckShallow(call.function, shallow, input, path, check_types == 1)) return nullptr;
  Py_RETURN_NONE;
}

constexpr char kShallowDoc[] =
    R"(assert_shallow_structure(shallow_tree, input_tree, path=None, check_types=True)
--

Raises unless a structure begins as a shallower one does, as dm-tree's `_assert_shallow_structure`.

Args:
    shallow_tree: the structure to go by; below its leaves anything may follow.
    input_tree: the structure in question.
    path: a path above both, for the message.
    check_types: whether the nodes of `input_tree` must be of the types of those of `shallow_tree`
        or of subclasses; any two mappings will do, and named tuples of one name and the same
        fields.

Raises:
    TypeError: a leaf or a node of another type stands where `shallow_tree` has a node.
    ValueError: a node has another number of children or other keys.

Example:
    >>> from pax_tree import dm as tree
    >>> tree.assert_shallow_structure({"a": None}, {"a": [1, 2]})
    >>> tree.assert_shallow_structure([None, [None]], [1, 2])
    Traceback (most recent call last):
    TypeError: assert_shallow_structure: at the path (1,): the shallow structure has a list of 1
    element, but the input structure has a leaf of type int.
)";

}  // namespace

bool CheckSame(const char* function, PyObject* a, PyObject* b, bool check_types) {
  Comparison comparison(function, check_types);
  return comparison.Same(a, b) || comparison.Raise();
}

bool CheckShallow(const char* function, PyObject* shallow, PyObject* input, PyObject* path,
                  bool check_types) {
  Shallow check(function, check_types);
  return check.Fits(shallow, input) || check.Raise(path);
}

PyMethodDef compare_methods[] = {
    Method<AssertSameStructure>("assert_same_structure", kSameDoc),
    Method<AssertShallowStructure>("assert_shallow_structure", kShallowDoc),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree::dm
