// assert_shallow_structure.
#include "support/arguments.h"
#include "dm/dm.h"
#include "tree/functions.h"
#include "core/parts.h"

namespace pax_tree::dm {
namespace {

bool IsMapping(Form form) { return form.shape == Shape::kDict || form.shape == Shape::kMapping; }

class Shallow {
 public:
  Shallow(const char* function, bool check_types)
      : function_(function), check_types_(check_types) {}
  bool Fits(PyObject* shallow, PyObject* input);
  // Raises for what did not fit, if no other error is set. `prefix` is a path above the root.
  bool Raise(PyObject* prefix);

 private:
  bool Differ(PyObject* error, PyObject* shallow, Form form, PyObject* input, Form input_form);
  bool FitsType(PyObject* shallow, Form form, PyObject* input, Form input_form);
  bool FitsSize(PyObject* shallow, Form form, PyObject* input, Form input_form);
  bool FitsChildren(PyObject* shallow, Form form, PyObject* input, Form input_form);

  const char* function_;
  bool check_types_;
  Depth depth_;
  PyObject* error_ = nullptr;
  std::string what_;
  std::vector<Ref> place_;
};

bool Shallow::Differ(PyObject* error, PyObject* shallow, Form form, PyObject* input,
                     Form input_form) {
  error_ = error;
  what_ = "the shallow structure has " + DescribeForm(shallow, form) +
          ", but the input structure has " + DescribeForm(input, input_form) + ".";
  return false;
}

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

bool Shallow::Raise(PyObject* prefix) {
  if (PyErr_Occurred()) return false;
  Ref above(prefix == nullptr || prefix == Py_None ? PyTuple_New(0) : PySequence_Tuple(prefix));
  if (!above) return false;
  for (Py_ssize_t i = PyTuple_GET_SIZE(above.get()); i > 0; --i) {
    place_.push_back(Ref::Borrow(PyTuple_GET_ITEM(above.get(), i - 1)));
  }
  RaiseAt(error_, function_, place_, what_);
  return false;
}

PyObject* AssertShallowStructure(PyObject*, PyObject* const* args, Py_ssize_t nargs,
                                 PyObject* names) {
  PyObject *shallow = nullptr, *input = nullptr, *path = nullptr, *check = nullptr;
  Parameter parameters[] = {
      {"shallow_tree", &shallow}, {"input_tree", &input}, {"path", &path}, {"check_types", &check}};
  constexpr char kName[] = "assert_shallow_structure";
  if (!ReadArguments(kName, args, nargs, names, parameters, 4, 4, 2, false)) return nullptr;
  int check_types = check == nullptr ? 1 : PyObject_IsTrue(check);
  if (check_types < 0 || !CheckShallow(kName, shallow, input, path, check_types == 1)) {
    return nullptr;
  }
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

bool CheckShallow(const char* function, PyObject* shallow, PyObject* input, PyObject* path,
                  bool check_types) {
  Shallow check(function, check_types);
  return check.Fits(shallow, input) || check.Raise(path);
}

PyMethodDef shallow_methods[] = {
    {"assert_shallow_structure", FastCall(AssertShallowStructure), METH_FASTCALL | METH_KEYWORDS,
     kShallowDoc},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree::dm
