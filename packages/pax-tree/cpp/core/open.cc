// Taking nodes apart.
#include "core/parts.h"
#include "dict/key_order.h"
#include "record/record.h"
#include "support/compat.h"
#include "support/errors.h"

namespace pax_tree {
namespace {

Failed BadResult(Registration* registration, const char* wanted, PyObject* got) {
  return Raise(PyExc_ValueError, "The flatten function of %s must return %s, but returned %R.",
               registration->type->tp_name, wanted, got);
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

bool OpenDict(PyObject* dict, Parts* parts) {
  parts->data = Ref(OrderOfDict(dict));
  parts->source = Ref::Borrow(dict);
  parts->arity = parts->data ? PyTuple_GET_SIZE(AsOrder(parts->data.get())->sorted) : 0;
  return static_cast<bool>(parts->data);
}

bool OpenDefaultDict(PyObject* dict, Parts* parts) {
  if (!OpenDict(dict, parts)) return false;
  Ref factory(PyObject_GetAttrString(dict, "default_factory"));
  parts->data = Ref(factory ? PyTuple_Pack(2, factory.get(), parts->data.get()) : nullptr);
  return static_cast<bool>(parts->data);
}

bool OpenOrderedDict(PyObject* dict, Parts* parts) {
  Ref keys(PySequence_Tuple(dict));
  if (!keys) return false;
  parts->data = Ref(OrderAsGiven(keys.get()));
  parts->source = Ref::Borrow(dict);
  parts->arity = PyTuple_GET_SIZE(keys.get());
  return static_cast<bool>(parts->data);
}

bool OpenDeque(PyObject* deque, Parts* parts) {
  parts->data = Ref(PyObject_GetAttrString(deque, "maxlen"));
  parts->source = Ref(parts->data ? PySequence_Tuple(deque) : nullptr);
  if (!parts->source) return false;
  parts->arity = PyTuple_GET_SIZE(parts->source.get());
  return true;
}

bool OpenRecord(Walk* walk, PyObject* object, Parts* parts) {
  auto* record = reinterpret_cast<Record*>(object);
  if (!TakeCurrent(record, &walk->reader, &parts->data, &parts->source)) return false;
  parts->arity = PyTuple_GET_SIZE(parts->source.get());
  return true;
}

bool OpenTuple(PyObject* tuple, Parts* parts) {
  parts->source = Ref::Borrow(tuple);
  parts->arity = PyTuple_GET_SIZE(tuple);
  if (parts->kind == Kind::kNamedTuple) {
    parts->data = Ref::Borrow(reinterpret_cast<PyObject*>(Py_TYPE(tuple)));
  }
  return true;
}

bool OpenList(PyObject* list, Parts* parts) {
  parts->source = Ref::Borrow(list);
  parts->arity = PyList_GET_SIZE(list);
  return true;
}

bool FillByLookup(PyObject* dict, PyObject* keys, PyObject** out, Py_ssize_t stride) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keys); ++i) {
    PyObject* value = LookUp(dict, PyTuple_GET_ITEM(keys, i));
    if (value == nullptr) return PyErr_Occurred() ? false : RaiseChanged(dict);
    out[i * stride] = value;
  }
  return true;
}

}  // namespace

bool OpenCustom(Registration* registration, PyObject* object, bool with_keys, Parts* parts) {
  parts->held = Ref::Borrow(AsObject(registration));
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

PyObject* OrderObject(Kind kind, PyObject* data) {
  return kind == Kind::kDefaultDict ? PyTuple_GET_ITEM(data, 1) : data;
}

bool Open(Walk* walk, PyObject* object, Verdict verdict, Parts* parts) {
  parts->kind = verdict.kind;
  parts->registration = verdict.registration;
  switch (verdict.kind) {
    case Kind::kTuple:
    case Kind::kNamedTuple: return OpenTuple(object, parts);
    case Kind::kList: return OpenList(object, parts);
    case Kind::kDict: return OpenDict(object, parts);
    case Kind::kOrderedDict: return OpenOrderedDict(object, parts);
    case Kind::kDefaultDict: return OpenDefaultDict(object, parts);
    case Kind::kDeque: return OpenDeque(object, parts);
    case Kind::kRecord: return OpenRecord(walk, object, parts);
    case Kind::kCustom: return OpenCustom(verdict.registration, object, walk->with_path, parts);
    case Kind::kNone:
    case Kind::kLeaf: break;
  }
  return true;
}

Failed RaiseChanged(PyObject* container) {
  return Raise(PyExc_RuntimeError, "A %s changed while it was being flattened.",
               Py_TYPE(container)->tp_name);
}

bool Fill(const Parts& parts, PyObject** out, Py_ssize_t stride) {
  PyObject* source = parts.source.get();
  if (source == nullptr) return true;
  if (PyTuple_Check(source)) return TakeTuple(source, out, stride);
  if (PyList_CheckExact(source)) {
    return TakeList(source, parts.arity, out, stride) || RaiseChanged(source);
  }
  KeyOrder* order = AsOrder(OrderObject(parts.kind, parts.data.get()));
  if (parts.kind == Kind::kOrderedDict) return FillByLookup(source, order->sorted, out, stride);
  return TakeValues(source, order, out, stride) || RaiseChanged(source);
}

}  // namespace pax_tree
