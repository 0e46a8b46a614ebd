// Which records are held, as constants, by programs that were traced and are kept.
#pragma once

#include "record/record.h"

namespace pax_tree {

// Whether such a program has read the record since the programs were forgotten last.
bool IsCaptured(const Record* record);

// Who takes records apart. It asks for the present scope once, and only if it must.
class Reader {
 public:
  // Whether it reads from the top level. False with an error set too.
  bool IsAtTopLevel();
  // Whether it reads from the scope that made the record. True with an error set too.
  bool IsWhereMade(const Record* record);
  // A record of the top level that a trace reads is captured, if its class says that the trace is
  // kept. False with an error set.
  bool Note(Record* record) {
    return record->scope != nullptr || IsCaptured(record) || NoteTraced(record);
  }

 private:
  bool NoteTraced(Record* record);
  bool Ask();  // false with an error set

  bool asked_ = false;
  Ref scope_;  // the present one; null at top level
};

// A record has changed: if it is captured its class is told, so that the programs are forgotten,
// and then no record is captured. False with an error set.
bool TellCaptured(Record* record, PyObject* name);

}  // namespace pax_tree
