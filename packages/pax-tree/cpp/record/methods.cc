// The table of the module's functions on records, with their documentation.
#include "tree/functions.h"
#include "record/record.h"

namespace pax_tree {
namespace {

constexpr char kFlattenDoc[] =
    R"(record_flatten(record, /)
--

The children and the structure of a record.

Returns:
    The pair (tuple of children, RecordSpec); the tuple is the record's own, not a copy.

Raises:
    TypeError: the object is no record.

Example:
    >>> import pax_tree
    >>> record = pax_tree.Record()
    >>> pax_tree.record_set(record, "weight", 1.5, 0)
    >>> pax_tree.record_flatten(record)
    ((1.5,), Record(weight))
)";

constexpr char kUnflattenDoc[] =
    R"(record_unflatten(spec, children, /)
--

A record of a given structure, made without running __init__.

Args:
    spec: the structure.
    children: an iterable of as many objects as the structure has names.

Returns:
    A record of the class `spec.cls`.

Raises:
    ValueError: the number of children is not that of the structure.

Example:
    >>> import pax_tree
    >>> record = pax_tree.Record()
    >>> pax_tree.record_set(record, "weight", 1.5, 0)
    >>> pax_tree.record_unflatten(pax_tree.record_spec(record), [2.5]).weight
    2.5
)";

constexpr char kSpecDoc[] =
    R"(record_spec(record, /)
--

The structure of a record, a RecordSpec; records of equal structure have the same object.

Raises:
    TypeError: the object is no record.

Example:
    >>> import pax_tree
    >>> pax_tree.record_spec(pax_tree.Record()) is pax_tree.record_spec(pax_tree.Record())
    True
)";

constexpr char kSetDoc[] =
    R"(record_set(record, name, value, kind, /)
--

Sets an attribute without asking the class what it is.

Args:
    record: the record, which must have been made in the present scope.
    name: the name of the attribute.
    value: any object.
    kind: 0 to 255 for a child, None for a static attribute.

Raises:
    ValueError: the kind is out of range.

Example:
    >>> import pax_tree
    >>> record = pax_tree.Record()
    >>> pax_tree.record_set(record, "weight", 1.5, 0)
    >>> pax_tree.record_set(record, "name", "dense", None)
    >>> pax_tree.record_spec(record)
    Record(weight, name='dense')
)";

constexpr char kWithSpecDoc[] =
    R"(record_with_spec(record, spec, /)
--

A record with the same children and another structure.

Args:
    record: where the children come from.
    spec: a structure with as many names as there are children.

Raises:
    ValueError: the number of children is not that of the structure.

Example:
    >>> import pax_tree
    >>> record = pax_tree.Record()
    >>> record.training = True
    >>> spec = pax_tree.record_spec(record).with_static("training", False)
    >>> pax_tree.record_with_spec(record, spec).training
    False
)";

constexpr char kScopeDoc[] =
    R"(set_scope_hook(hook, top_level=None)
--

Sets the function that says in which scope the program is.

A record can be written only in the scope in which it was made or copied; elsewhere the exception that
its `_scope_error(name)` makes is raised.

Args:
    hook: called without arguments, once for every record that is made; returns None or `top_level` at
        top level, else an object that stands for the present scope and of which weak references can
        be made. None: scopes are not looked at.
    top_level: an object by which the hook stands for the top level.

Returns:
    The hook and the `top_level` before, a pair.

Raises:
    TypeError: the hook is not callable.

Example:
    >>> import pax_tree
    >>> previous = pax_tree.set_scope_hook(lambda: None)
    >>> hook, top_level = pax_tree.set_scope_hook(*previous)
)";

}  // namespace

PyMethodDef record_methods[] = {
    {"record_flatten", RecordFlatten, METH_O, kFlattenDoc},
    {"record_unflatten", FastCall(RecordUnflatten), METH_FASTCALL, kUnflattenDoc},
    {"record_spec", RecordSpecOf, METH_O, kSpecDoc},
    {"record_set", FastCall(RecordSet), METH_FASTCALL, kSetDoc},
    {"record_with_spec", FastCall(RecordWithSpec), METH_FASTCALL, kWithSpecDoc},
    {"set_scope_hook", FastCall(SetScopeHook), METH_FASTCALL | METH_KEYWORDS, kScopeDoc},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace pax_tree
