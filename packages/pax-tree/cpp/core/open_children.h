// Taking a node apart into its parts and its children, the plain kinds without detours.
#pragma once

#include "core/parts.h"
#include "core/plain.h"

namespace pax_tree {

// Puts the children into slots 0, stride, ...
template <Py_ssize_t kInline>
bool OpenChildren(Walk* walk, PyObject* object, Verdict verdict, Py_ssize_t stride, Parts* parts,
                  SlotArray<kInline>* slots) {
  if (!IsPlain(verdict.kind)) {
    return Open(walk, object, verdict, parts) && slots->Allocate(parts->arity * stride) &&
           Fill(*parts, slots->data(), stride);
  }
  parts->kind = verdict.kind;
  parts->registration = verdict.registration;
  parts->arity = PlainSize(object, verdict.kind);
  if (!slots->Allocate(parts->arity * stride)) return false;
  PyObject* data = nullptr;
  bool taken = TakePlain(object, parts->kind, parts->arity, slots->data(), stride, &data);
  parts->data = Ref(data);
  return taken;
}

}  // namespace pax_tree
