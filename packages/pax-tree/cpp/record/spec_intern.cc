// The table of live specs: one object for each structure.
#include <new>
#include <unordered_map>
#include <vector>

#include "record/spec.h"
#include "support/compat.h"

namespace pax_tree {
namespace {

// Weak references, so that the table keeps nothing alive and the garbage collector sees every
// reference that a spec holds; a spec leaves the table when it dies.
struct Entry {
  RecordSpec* spec;  // only compared
  PyObject* weak;
};
using Table = std::unordered_multimap<Py_hash_t, Entry>;

struct LiveSpecs {
  Table table;
  size_t entered = 0;  // how many specs ever were
  Mutex mutex;
};

LiveSpecs& Live() {
  static auto* live = new LiveSpecs();
  return *live;
}

struct Structure {
  PyTypeObject* cls;
  PyObject* names;
  PyObject* kinds;
  PyObject* frozen;
  Py_uhash_t children_hash = 0;  // of the names and kinds
};

constexpr Py_uhash_t kHashFactor = 1000003;

Py_uhash_t Mixed(Py_uhash_t hash, Py_uhash_t part) { return (hash ^ part) * kHashFactor; }

// Of the children of a spec that grew by its last one, or of all. Names are interned strings.
bool HashChildren(Structure* structure, const RecordSpec* before) {
  Py_ssize_t count = PyTuple_GET_SIZE(structure->names);
  bool grown = before != nullptr;
  Py_uhash_t h = grown ? before->children_hash : kHashFactor;
  for (Py_ssize_t i = grown ? count - 1 : 0; i < count; ++i) {
    Py_hash_t name = PyObject_Hash(PyTuple_GET_ITEM(structure->names, i));
    if (name == -1) return false;
    auto kind = static_cast<unsigned char>(PyBytes_AS_STRING(structure->kinds)[i]);
    h = Mixed(Mixed(h, static_cast<Py_uhash_t>(name)), kind + 1u);
  }
  structure->children_hash = h;
  return true;
}

bool HashStructure(const Structure& structure, Py_hash_t* hash) {
  Py_hash_t frozen = PyObject_Hash(structure.frozen);
  if (frozen == -1) return false;
  Py_uhash_t h = Mixed(reinterpret_cast<Py_uhash_t>(structure.cls) >> 4, structure.children_hash);
  *hash = static_cast<Py_hash_t>(Mixed(h, static_cast<Py_uhash_t>(frozen)));
  if (*hash == -1) *hash = -2;
  return true;
}

// 1, 0, or -1 with an error set; may run a static value's __eq__.
int SameStructure(const RecordSpec* spec, const Structure& structure) {
  if (spec->cls != structure.cls) return 0;
  int same = PyObject_RichCompareBool(spec->names, structure.names, Py_EQ);
  if (same == 1) same = PyObject_RichCompareBool(spec->kinds, structure.kinds, Py_EQ);
  if (same == 1) same = PyObject_RichCompareBool(spec->frozen, structure.frozen, Py_EQ);
  return same;
}

// The live specs of a hash; `entered` says how many specs there ever were.
std::vector<Ref> Candidates(Py_hash_t hash, size_t* entered) {
  std::vector<Ref> candidates;
  Lock lock(&Live().mutex);
  *entered = Live().entered;
  auto range = Live().table.equal_range(hash);
  for (auto it = range.first; it != range.second; ++it) {
    if (PyObject* spec = Referent(it->second.weak)) candidates.emplace_back(spec);
  }
  return candidates;
}

// The live spec of this structure, null without an error if there is none.
RecordSpec* FindSpec(const Structure& structure, Py_hash_t hash, size_t* entered) {
  for (Ref& candidate : Candidates(hash, entered)) {
    int same = SameStructure(AsSpec(candidate.get()), structure);
    if (same < 0) return nullptr;
    if (same == 1) return AsSpec(candidate.release());
  }
  return nullptr;
}

// The index of a spec that grew by its last name: that of the spec before, with the name entered.
// Null without an error where the name stands elsewhere in it, or most names in it are not of
// these.
PyObject* GrownIndex(RecordSpec* before, PyObject* names) {
  Py_ssize_t last = PyTuple_GET_SIZE(names) - 1;
  if (before == nullptr || PyDict_GET_SIZE(before->index) > 2 * last + 8) return nullptr;
  PyObject* name = PyTuple_GET_ITEM(names, last);
  Ref position(PyLong_FromSsize_t(last));
  PyObject* entered = position ? PyDict_SetDefault(before->index, name, position.get()) : nullptr;
  if (entered == nullptr) return nullptr;
  return PyLong_AsSsize_t(entered) == last ? Py_NewRef(before->index) : nullptr;
}

PyObject* IndexOf(PyObject* names, RecordSpec* before) {
  PyObject* grown = GrownIndex(before, names);
  if (grown != nullptr || PyErr_Occurred()) return grown;
  Ref index(PyDict_New());
  for (Py_ssize_t i = 0; index && i < PyTuple_GET_SIZE(names); ++i) {
    Ref position(PyLong_FromSsize_t(i));
    if (!position) return nullptr;
    if (PyDict_SetItem(index.get(), PyTuple_GET_ITEM(names, i), position.get()) < 0) return nullptr;
  }
  return index.release();
}

// The names of the statics that may change in place; null, also without an error, if there are
// none.
PyObject* MutablesOf(PyObject* statics) {
  Ref names(PyList_New(0)), items(PyDict_Items(statics));
  if (!names || !items) return nullptr;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); ++i) {
    PyObject* pair = PyList_GET_ITEM(items.get(), i);
    if (!MayChange(PyTuple_GET_ITEM(pair, 1))) continue;
    if (PyList_Append(names.get(), PyTuple_GET_ITEM(pair, 0)) < 0) return nullptr;
  }
  return PyList_GET_SIZE(names.get()) == 0 ? nullptr : PyList_AsTuple(names.get());
}

RecordSpec* NewSpec(const Structure& structure, PyObject* statics, Py_hash_t hash,
                    RecordSpec* before) {
  Ref index(IndexOf(structure.names, before));
  Ref mutables(index ? MutablesOf(statics) : nullptr);
  if (!index || PyErr_Occurred()) return nullptr;
  auto* spec = AsSpec(record_spec_type->tp_alloc(record_spec_type, 0));
  if (spec == nullptr) return nullptr;
  Py_INCREF(structure.cls);
  spec->cls = structure.cls;
  spec->names = Py_NewRef(structure.names);
  spec->kinds = Py_NewRef(structure.kinds);
  spec->statics = Py_NewRef(statics);
  spec->frozen = Py_NewRef(structure.frozen);
  spec->mutables = mutables.release();
  spec->index = index.release();
  spec->children_hash = structure.children_hash;
  spec->hash = hash;
  return spec;
}

// Enters a spec, unless others were entered since it was looked for: a user's __eq__ and other
// threads may make specs too.
bool Enter(RecordSpec* spec, PyObject* weak, size_t entered) {
  Lock lock(&Live().mutex);
  if (Live().entered != entered) return false;
  Live().table.emplace(spec->hash, Entry{spec, Py_NewRef(weak)});
  ++Live().entered;
  return spec->interned = true;
}

// The one spec of a structure.
RecordSpec* FindOrMake(const Structure& structure, PyObject* statics, Py_hash_t hash,
                       RecordSpec* before) {
  Ref made, weak;
  for (;;) {
    size_t entered;
    RecordSpec* known = FindSpec(structure, hash, &entered);
    if (known != nullptr || PyErr_Occurred()) return known;
    if (!made) made = Ref(AsObject(NewSpec(structure, statics, hash, before)));
    if (!weak) weak = Ref(made ? PyWeakref_NewRef(made.get(), nullptr) : nullptr);
    if (!weak) return nullptr;
    if (Enter(AsSpec(made.get()), weak.get(), entered)) return AsSpec(made.release());
  }
}

}  // namespace

RecordSpec* InternSpec(PyTypeObject* cls, PyObject* names, PyObject* kinds, PyObject* statics,
                       PyObject* frozen, RecordSpec* before) {
  Structure structure{cls, names, kinds, frozen};
  Py_hash_t hash;
  if (!HashChildren(&structure, before) || !HashStructure(structure, &hash)) return nullptr;
  try {
    return FindOrMake(structure, statics, hash, before);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
    return nullptr;
  }
}

void ForgetSpec(RecordSpec* spec) {
  Ref weak;  // dropped after the lock is
  Lock lock(&Live().mutex);
  if (!spec->interned) return;
  spec->interned = false;
  auto range = Live().table.equal_range(spec->hash);
  for (auto it = range.first; it != range.second; ++it) {
    if (it->second.spec != spec) continue;
    weak = Ref(it->second.weak);
    Live().table.erase(it);
    return;
  }
}

RecordSpec* RootSpec(PyTypeObject* cls) {
  Ref empty(PyTuple_New(0)), kinds(PyBytes_FromStringAndSize(nullptr, 0)), statics(PyDict_New());
  if (!empty || !kinds || !statics) return nullptr;
  return InternSpec(cls, empty.get(), kinds.get(), statics.get(), empty.get());
}

}  // namespace pax_tree
