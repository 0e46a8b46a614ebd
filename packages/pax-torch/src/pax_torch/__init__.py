"""JAX's API on PyTorch: grad, functional modules, optimizers and schedules."""

from pax_torch import random, schedule
from pax_torch._checkpoint import checkpoint
from pax_torch._custom_jvp import custom_jvp
from pax_torch._custom_vjp import custom_vjp
from pax_torch._eval_shape import ShapeDtypeStruct, eval_shape
from pax_torch._grad import grad, value_and_grad
from pax_torch._graph import stop_gradient
from pax_torch._jacobian import hessian, hvp, jacfwd, jacobian, jacrev
from pax_torch._jit import jit
from pax_torch._jvp import jvp, linearize
from pax_torch._module import functional_module
from pax_torch._multi_transform import MultiTransform, multi_transform
from pax_torch._optimizer import FunctionalOptimizer, functional_optimizer
from pax_torch._schedule import functional_schedule
from pax_torch._schedule_plateau import PlateauSchedule
from pax_torch._standalone_scheduler import StandaloneScheduler
from pax_torch._state import get_buffers, get_params, stack_buffers, stack_params
from pax_torch._vjp import vjp
from pax_torch._vmap import vmap
from pax_tree import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    PyTreeDef,
    SequenceKey,
    keystr,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_static,
    tree,
    tree_all,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_map_with_path,
    tree_reduce,
    tree_structure,
    tree_transpose,
    tree_unflatten,
)

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "FunctionalOptimizer",
    "GetAttrKey",
    "MultiTransform",
    "PlateauSchedule",
    "PyTreeDef",
    "SequenceKey",
    "ShapeDtypeStruct",
    "StandaloneScheduler",
    "checkpoint",
    "custom_jvp",
    "custom_vjp",
    "eval_shape",
    "functional_module",
    "functional_optimizer",
    "functional_schedule",
    "get_buffers",
    "get_params",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "keystr",
    "linearize",
    "multi_transform",
    "random",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_static",
    "schedule",
    "stack_buffers",
    "stack_params",
    "stop_gradient",
    "tree",
    "tree_all",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_reduce",
    "tree_structure",
    "tree_transpose",
    "tree_unflatten",
    "value_and_grad",
    "vjp",
    "vmap",
]
