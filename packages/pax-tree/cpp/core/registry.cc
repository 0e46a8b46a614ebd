// The table of registered types.
#include "core/registry.h"

#include "record/record.h"
#include "support/arguments.h"
#include "support/errors.h"
#include "support/ref.h"
#include "support/sequence.h"
#include "support/threads.h"
#include "tree/functions.h"

namespace pax_tree {
namespace {

// Open addressing from a type's address to its registration. Readers take no lock, so a table that
// was outgrown stays where it is.
class TypeTable {
 public:
  Registration* Find(PyTypeObject* type) const {
    const Entries* entries = entries_.load(kObserve);
    for (size_t i = Start(type, *entries);; i = (i + 1) & entries->mask) {
      Registration* found = entries->at[i].load(kObserve);
      if (found == nullptr || found->type == type) return found;
    }
  }

  // Enters a registration, of which it takes a reference, in place of the type's last one.
  void Insert(Registration* registration) {
    Lock lock(&mutex_);
    Entries* entries = entries_.load(kObserve);
    if (2 * (size_ + 1) > entries->mask + 1) entries = Grown(*entries);
    Py_INCREF(registration);
    if (Put(entries, registration)) ++size_;
    entries_.store(entries, kPublish);
  }

  // Leaves an entry of no type, which `Find` passes over. The reference is dropped by the caller.
  void Remove(PyTypeObject* type) {
    static Registration removed = {};
    Lock lock(&mutex_);
    Entries* entries = entries_.load(kObserve);
    std::atomic<Registration*>* slot = SlotOf(entries, type);
    if (slot->load(kObserve) != nullptr) slot->store(&removed, kPublish);
  }

 private:
  struct Entries {
    explicit Entries(size_t capacity)
        : mask(capacity - 1), at(new std::atomic<Registration*>[capacity]()) {}
    size_t mask;
    std::atomic<Registration*>* at;
  };

  static size_t Start(PyTypeObject* type, const Entries& entries) {
    size_t bits = reinterpret_cast<size_t>(type) >> 4;
    return (bits ^ (bits >> 8)) & entries.mask;
  }

  // Where the type's registration is, or would be: in the first place that one was removed from.
  static std::atomic<Registration*>* SlotOf(Entries* entries, PyTypeObject* type) {
    std::atomic<Registration*>* free = nullptr;
    for (size_t i = Start(type, *entries);; i = (i + 1) & entries->mask) {
      Registration* there = entries->at[i].load(kObserve);
      if (there != nullptr && there->type == type) return &entries->at[i];
      if (there == nullptr) return free != nullptr ? free : &entries->at[i];
      if (there->type == nullptr && free == nullptr) free = &entries->at[i];
    }
  }

  // Whether the type is new.
  static bool Put(Entries* entries, Registration* registration) {
    std::atomic<Registration*>* slot = SlotOf(entries, registration->type);
    bool is_new = slot->load(kObserve) == nullptr;
    slot->store(registration, kPublish);
    return is_new;
  }

  static Entries* Grown(const Entries& old) {
    auto* entries = new Entries(2 * (old.mask + 1));
    for (size_t i = 0; i <= old.mask; ++i) {
      Registration* registration = old.at[i].load(kObserve);
      if (registration != nullptr && registration->type != nullptr) Put(entries, registration);
    }
    return entries;
  }

  std::atomic<Entries*> entries_{new Entries(128)};
  size_t size_ = 0;
  Mutex mutex_;
};

TypeTable& Table() {
  static auto* table = new TypeTable();
  return *table;
}

// The last registrations of classes that are registered no more.
TypeTable& Retired() {
  static auto* table = new TypeTable();
  return *table;
}

PyObject* foreign_lookup = nullptr;
Mutex foreign_mutex;

PyObject* ForeignLookup() {
  Lock lock(&foreign_mutex);
  return Py_XNewRef(foreign_lookup);
}

PyTypeObject* registration_type = nullptr;

int Traverse(PyObject* self, visitproc visit, void* arg) {
  auto* registration = reinterpret_cast<Registration*>(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(registration->type);
  Py_VISIT(registration->flatten);
  Py_VISIT(registration->unflatten);
  Py_VISIT(registration->flatten_with_keys);
  return 0;
}

// No tp_clear: it cannot be changed, so that some other object of a cycle is what breaks it.
void Dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  auto* registration = reinterpret_cast<Registration*>(self);
  PyObject_GC_UnTrack(self);
  Py_XDECREF(registration->type);
  Py_XDECREF(registration->flatten);
  Py_XDECREF(registration->unflatten);
  Py_XDECREF(registration->flatten_with_keys);
  type->tp_free(self);
  Py_DECREF(type);
}

bool InitType() {
  static PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(Traverse)},
                                {Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)},
                                {0, nullptr}};
  static PyType_Spec spec = {
      "pax_tree._C.Registration", sizeof(Registration), 0,
      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  registration_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return registration_type != nullptr;
}

// Null with an error set.
Registration* NewRegistration(PyTypeObject* type, Kind kind) {
  auto* self = reinterpret_cast<Registration*>(registration_type->tp_alloc(registration_type, 0));
  if (self == nullptr) return nullptr;
  Py_INCREF(type);
  self->type = type;
  self->kind = kind;
  return self;
}

bool Enter(PyTypeObject* type, Kind kind) {
  Registration* registration = NewRegistration(type, kind);
  Ref owned(AsObject(registration));
  if (owned) Table().Insert(registration);
  return static_cast<bool>(owned);
}

bool IsNamedTuple(PyTypeObject* type, bool* answer) {
  *answer = false;
  if (!PyType_FastSubclass(type, Py_TPFLAGS_TUPLE_SUBCLASS)) return true;
  Ref fields(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "_fields"));
  if (!fields) {
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return false;
    PyErr_Clear();
    return true;
  }
  *answer = PyTuple_Check(fields.get());
  return true;
}

// Whether it may be a class of struct sequences, such as time.struct_time.
bool IsFinalTuple(PyTypeObject* type) {
  return type->tp_base == &PyTuple_Type && (type->tp_flags & Py_TPFLAGS_BASETYPE) == 0;
}

// Asks the other libraries; a class of theirs is then in the table, and one of struct sequences.
bool AskForeign(PyTypeObject* type) {
  Ref lookup(ForeignLookup());
  if (!lookup && IsFinalTuple(type)) {
    lookup = Ref(Import("pax_tree._interop.registry", "adopt"));
    if (!lookup) return false;
  }
  if (!lookup) return true;
  return static_cast<bool>(
      Ref(PyObject_CallOneArg(lookup.get(), reinterpret_cast<PyObject*>(type))));
}

bool CheckType(PyObject* type, const char* function) {
  if (PyType_Check(type)) return true;
  return Raise(PyExc_TypeError, "%s takes a class, but got %R.", function, type);
}

bool CheckNew(PyTypeObject* type, bool adopted) {
  Registration* known = Table().Find(type);
  bool record = IsRecordType(type);
  if (!record && (known == nullptr || known->kind == Kind::kLeaf || known->adopted)) return true;
  if (adopted) return true;
  return Raise(PyExc_ValueError,
               "%s is a pytree node already, and a class can be registered only once.",
               type->tp_name);
}

PyTypeObject* ImportType(const char* name) {
  Ref module(PyImport_ImportModule("collections"));
  return module ? reinterpret_cast<PyTypeObject*>(PyObject_GetAttrString(module.get(), name))
                : nullptr;
}

Registration* RegistrationOf(PyObject* type) {
  return LastRegistration(reinterpret_cast<PyTypeObject*>(type));
}

PyObject* ForwardFlatten(PyObject* type, PyObject* object) {
  Ref flatten = Ref::Borrow(RegistrationOf(type)->flatten);
  return PyObject_CallOneArg(flatten.get(), object);
}

PyObject* ForwardUnflatten(PyObject* type, PyObject* const* args, Py_ssize_t nargs) {
  Ref unflatten = Ref::Borrow(RegistrationOf(type)->unflatten);
  return PyObject_Vectorcall(unflatten.get(), args, static_cast<size_t>(nargs), nullptr);
}

PyMethodDef flatten = {"flatten", ForwardFlatten, METH_O, nullptr};
PyMethodDef unflatten = {"unflatten", AsMethod(ForwardUnflatten), METH_FASTCALL, nullptr};

}  // namespace

Registration* tuple_registration = nullptr;
Registration* list_registration = nullptr;
Registration* dict_registration = nullptr;
PyTypeObject* ordered_dict_type = nullptr;
PyTypeObject* default_dict_type = nullptr;
PyTypeObject* deque_type = nullptr;

Registration* FindRegistration(PyTypeObject* type) { return Table().Find(type); }

bool ClassifyUnknownType(PyTypeObject* type, Verdict* verdict) {
  *verdict = {Kind::kLeaf, nullptr};
  if (IsRecordType(type)) return verdict->Set(Kind::kRecord, nullptr);
  if (!AskForeign(type)) return false;
  if (Registration* adopted = Table().Find(type)) return verdict->Set(adopted->kind, adopted);
  bool named_tuple;
  if (!IsNamedTuple(type, &named_tuple)) return false;
  if (named_tuple) verdict->kind = Kind::kNamedTuple;
  return true;
}

bool InitRegistry() {
  ordered_dict_type = ImportType("OrderedDict");
  default_dict_type = ImportType("defaultdict");
  deque_type = ImportType("deque");
  if (PyErr_Occurred() || !InitType()) return false;
  Enter(&PyTuple_Type, Kind::kTuple);
  Enter(&PyList_Type, Kind::kList);
  Enter(&PyDict_Type, Kind::kDict);
  tuple_registration = FindRegistration(&PyTuple_Type);
  list_registration = FindRegistration(&PyList_Type);
  dict_registration = FindRegistration(&PyDict_Type);
  Enter(ordered_dict_type, Kind::kOrderedDict);
  Enter(default_dict_type, Kind::kDefaultDict);
  Enter(deque_type, Kind::kDeque);
  Enter(Py_TYPE(Py_None), Kind::kNone);
  for (PyTypeObject* leaf : {&PyLong_Type, &PyFloat_Type, &PyBool_Type, &PyComplex_Type,
                             &PyUnicode_Type, &PyBytes_Type, &PyBaseObject_Type}) {
    Enter(leaf, Kind::kLeaf);
  }
  return !PyErr_Occurred();
}

// _register_node(type, flatten, unflatten, flatten_with_keys or None, adopted)
PyObject* RegisterNode(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 5) return Raise(PyExc_TypeError, "_register_node takes 5 arguments.");
  if (!CheckType(args[0], "register_pytree_node")) return nullptr;
  auto* type = reinterpret_cast<PyTypeObject*>(args[0]);
  bool adopted = args[4] == Py_True;
  if (!CheckNew(type, adopted)) return nullptr;
  Registration* known = Table().Find(type);
  if (adopted && known != nullptr && known->adopted) Py_RETURN_NONE;  // another thread was faster
  Registration* registration = NewRegistration(type, Kind::kCustom);
  Ref owned(AsObject(registration));
  if (!owned) return nullptr;
  registration->adopted = adopted;
  registration->flatten = Py_NewRef(args[1]);
  registration->unflatten = Py_NewRef(args[2]);
  registration->flatten_with_keys = args[3] == Py_None ? nullptr : Py_NewRef(args[3]);
  Table().Insert(registration);
  Py_RETURN_NONE;
}

// _unregister_node(type, keep): the class is then what it was before; treedefs keep the
// registration that they were made with. Where another library goes on to ask for it, it is kept
// for that.
PyObject* UnregisterNode(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs != 2) return Raise(PyExc_TypeError, "_unregister_node takes 2 arguments.");
  if (!CheckType(args[0], "unregister_pytree_node")) return nullptr;
  auto* cls = reinterpret_cast<PyTypeObject*>(args[0]);
  Registration* known = Table().Find(cls);
  if (known == nullptr || known->kind != Kind::kCustom || known->adopted) {
    return Raise(PyExc_ValueError, "%s was not registered with pax_tree.", cls->tp_name);
  }
  if (args[1] == Py_True) Retired().Insert(known);
  Table().Remove(cls);
  if (!kFreeThreaded) Py_DECREF(known);  // else another thread may be looking at it
  Py_RETURN_NONE;
}

Registration* LastRegistration(PyTypeObject* type) {
  Registration* known = Table().Find(type);
  bool own = known != nullptr && known->kind == Kind::kCustom && !known->adopted;
  return own ? known : Retired().Find(type);
}

// A type that is never a node, so that the other libraries need not be asked each time.
PyObject* RegisterLeafType(PyObject*, PyObject* type) {
  if (!CheckType(type, "_register_leaf_type")) return nullptr;
  auto* cls = reinterpret_cast<PyTypeObject*>(type);
  if (Table().Find(cls) == nullptr && !Enter(cls, Kind::kLeaf)) return nullptr;
  Py_RETURN_NONE;
}

PyObject* SetForeignLookup(PyObject*, PyObject* lookup) {
  Ref old;  // dropped after the lock is
  Lock lock(&foreign_mutex);
  old = Ref(std::exchange(foreign_lookup, Py_NewRef(lookup)));
  Py_RETURN_NONE;
}

PyObject* IsRegistered(PyObject*, PyObject* type) {
  if (!CheckType(type, "_is_registered")) return nullptr;
  Registration* known = Table().Find(reinterpret_cast<PyTypeObject*>(type));
  return PyBool_FromLong(known != nullptr && known->kind != Kind::kLeaf);
}

// _forwarders(cls): the pair (flatten, unflatten) of a class that is or was registered here.
PyObject* Forwarders(PyObject*, PyObject* type) {
  if (!PyType_Check(type) || RegistrationOf(type) == nullptr) {
    return Raise(PyExc_TypeError, "%R was never registered here.", type);
  }
  Ref first(PyCFunction_New(&flatten, type)), second(PyCFunction_New(&unflatten, type));
  return first && second ? PyTuple_Pack(2, first.get(), second.get()) : nullptr;
}

}  // namespace pax_tree
