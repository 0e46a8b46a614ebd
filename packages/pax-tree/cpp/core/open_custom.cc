// Taking a node of a registered class apart with the class's own functions.
#include "core/parts.h"

namespace pax_tree {
namespace {

bool BadResult(Registration* registration, const char* wanted, PyObject* got) {
  PyErr_Format(PyExc_ValueError, "The flatten function of %s must return %s, but returned %R.",
               registration->type->tp_name, wanted, got);
  return false;
}

// Takes (children, aux) apart; a pair may be a list too, as for JAX.
bool SplitPair(Registration* registration, PyObject* result, Ref* children, Ref* aux) {
  bool sequence = PyTuple_Check(result) || PyList_Check(result);
  if (!sequence || PySequence_Fast_GET_SIZE(result) != 2) {
    return BadResult(registration, "a pair (children, aux)", result);
  }
  *children = Ref::Borrow(PySequence_Fast_GET_ITEM(result, 0));
  *aux = Ref::Borrow(PySequence_Fast_GET_ITEM(result, 1));
  return true;
}

bool ToTuple(Registration* registration, Ref* items) {
  Ref tuple(PySequence_Tuple(items->get()));
  if (!tuple && PyErr_ExceptionMatches(PyExc_TypeError) &&
      Py_TYPE(items->get())->tp_iter == nullptr) {
    PyErr_Clear();
    return BadResult(registration, "a pair (children, aux) with iterable children", items->get());
  }
  *items = std::move(tuple);
  return static_cast<bool>(*items);
}

// Splits a tuple of (key, child) pairs into two tuples.
bool SplitKeys(Registration* registration, PyObject* pairs, Ref* keys, Ref* children) {
  Py_ssize_t n = PyTuple_GET_SIZE(pairs);
  *keys = Ref(PyTuple_New(n));
  *children = Ref(PyTuple_New(n));
  if (!*keys || !*children) return false;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* pair = PyTuple_GET_ITEM(pairs, i);
    bool sequence = PyTuple_Check(pair) || PyList_Check(pair);
    if (!sequence || PySequence_Fast_GET_SIZE(pair) != 2) {
      return BadResult(registration, "(key, child) pairs as children", pair);
    }
    PyTuple_SET_ITEM(keys->get(), i, Py_NewRef(PySequence_Fast_GET_ITEM(pair, 0)));
    PyTuple_SET_ITEM(children->get(), i, Py_NewRef(PySequence_Fast_GET_ITEM(pair, 1)));
  }
  return true;
}

}  // namespace

bool OpenCustom(Registration* registration, PyObject* object, bool with_keys, Parts* parts) {
  bool keyed = with_keys && registration->flatten_with_keys != nullptr;
  PyObject* function = keyed ? registration->flatten_with_keys : registration->flatten;
  Ref result(PyObject_CallOneArg(function, object)), children;
  if (!result || !SplitPair(registration, result.get(), &children, &parts->data)) return false;
  if (!ToTuple(registration, &children)) return false;
  if (keyed) {
    Ref pairs = std::move(children);
    if (!SplitKeys(registration, pairs.get(), &parts->keys, &children)) return false;
  }
  parts->arity = PyTuple_GET_SIZE(children.get());
  parts->source = std::move(children);
  return true;
}

}  // namespace pax_tree
