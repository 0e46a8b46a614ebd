"""JAX's API on PyTorch: grad, functional modules, optimizers and schedules.

The functions of pytrees are those of `pax_tree`. What else it has is found there: key paths (`keystr`,
`DictKey`), `Partial`, records, the functions of treedefs, the namespace `tree` and that of dm-tree.
"""

import typing as _typing

from pax_torch._autodiff.grad import grad, stop_gradient, value_and_grad
from pax_torch._module.functional import functional_module
from pax_torch._module.state import get_buffers, get_params, stack_buffers, stack_params
from pax_torch._optim.optimizer import FunctionalOptimizer, functional_optimizer
from pax_torch._trees import tree_cast, tree_clone, tree_to
from pax_torch._vmap import vmap
from pax_tree import (
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    register_static,
    tree_accessors,
    tree_add,
    tree_all,
    tree_any,
    tree_broadcast,
    tree_broadcast_common,
    tree_diff,
    tree_dot,
    tree_flatten,
    tree_flatten_with_accessor,
    tree_flatten_with_path,
    tree_for_each,
    tree_get_at,
    tree_iter,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_map_with_path,
    tree_mask,
    tree_neg,
    tree_norm,
    tree_norm_sq,
    tree_numel,
    tree_partition,
    tree_ravel,
    tree_reduce,
    tree_reduce_associative,
    tree_replace_at,
    tree_scale,
    tree_select,
    tree_structure,
    tree_subtract,
    tree_sum,
    tree_summary,
    tree_transpose,
    tree_unflatten,
    tree_zeros_like,
    unregister_pytree_node,
)
from pax_tree._lazy import lazy as _lazy

if _typing.TYPE_CHECKING:
    from pax_torch import checkpoint_policies, debug, distributed, lax, random, schedule
    from pax_torch._autodiff.checkpoint import checkpoint
    from pax_torch._autodiff.custom_gradient import closure_convert, custom_gradient
    from pax_torch._autodiff.custom_jvp import custom_jvp
    from pax_torch._autodiff.custom_vjp import custom_vjp
    from pax_torch._autodiff.jacobian import hessian, hvp, jacfwd, jacobian, jacrev
    from pax_torch._autodiff.jvp import jvp, linearize
    from pax_torch._autodiff.vjp import vjp
    from pax_torch._callbacks.pure_callback import pure_callback
    from pax_torch._compile.eval_shape import ShapeDtypeStruct, eval_shape
    from pax_torch._compile.jit import jit
    from pax_torch._optim.averages import ema_init, ema_read, ema_step, running_avg_step
    from pax_torch._optim.clip import clip_by_global_norm
    from pax_torch._optim.multi_transform import MultiTransform, multi_transform
    from pax_torch.schedule._functional import functional_schedule
    from pax_torch.schedule._plateau import PlateauSchedule
    from pax_torch.schedule._standalone import StandaloneScheduler
else:
    _ROOMS = {
        "MultiTransform": "_optim.multi_transform",
        "PlateauSchedule": "schedule._plateau",
        "ShapeDtypeStruct": "_compile.eval_shape",
        "StandaloneScheduler": "schedule._standalone",
        "checkpoint": "_autodiff.checkpoint",
        "checkpoint_policies": "checkpoint_policies",
        "clip_by_global_norm": "_optim.clip",
        "closure_convert": "_autodiff.custom_gradient",
        "custom_gradient": "_autodiff.custom_gradient",
        "custom_jvp": "_autodiff.custom_jvp",
        "custom_vjp": "_autodiff.custom_vjp",
        "debug": "debug",
        "distributed": "distributed",
        "ema_init": "_optim.averages",
        "ema_read": "_optim.averages",
        "ema_step": "_optim.averages",
        "eval_shape": "_compile.eval_shape",
        "functional_schedule": "schedule._functional",
        "hessian": "_autodiff.jacobian",
        "hvp": "_autodiff.jacobian",
        "jacfwd": "_autodiff.jacobian",
        "jacobian": "_autodiff.jacobian",
        "jacrev": "_autodiff.jacobian",
        "jit": "_compile.jit",
        "jvp": "_autodiff.jvp",
        "lax": "lax",
        "linearize": "_autodiff.jvp",
        "multi_transform": "_optim.multi_transform",
        "pure_callback": "_callbacks.pure_callback",
        "random": "random",
        "running_avg_step": "_optim.averages",
        "schedule": "schedule",
        "vjp": "_autodiff.vjp",
    }
    __getattr__, __dir__ = _lazy(__name__, _ROOMS)

__version__ = "1.0.0.dev0"

__all__ = [
    "FunctionalOptimizer",
    "MultiTransform",
    "PlateauSchedule",
    "ShapeDtypeStruct",
    "StandaloneScheduler",
    "checkpoint",
    "checkpoint_policies",
    "clip_by_global_norm",
    "closure_convert",
    "custom_gradient",
    "custom_jvp",
    "custom_vjp",
    "debug",
    "distributed",
    "ema_init",
    "ema_read",
    "ema_step",
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
    "lax",
    "linearize",
    "multi_transform",
    "pure_callback",
    "random",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_pytree_with_keys_class",
    "register_static",
    "running_avg_step",
    "schedule",
    "stack_buffers",
    "stack_params",
    "stop_gradient",
    "tree_accessors",
    "tree_add",
    "tree_all",
    "tree_any",
    "tree_broadcast",
    "tree_broadcast_common",
    "tree_cast",
    "tree_clone",
    "tree_diff",
    "tree_dot",
    "tree_flatten",
    "tree_flatten_with_accessor",
    "tree_flatten_with_path",
    "tree_for_each",
    "tree_get_at",
    "tree_iter",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_with_path",
    "tree_mask",
    "tree_neg",
    "tree_norm",
    "tree_norm_sq",
    "tree_numel",
    "tree_partition",
    "tree_ravel",
    "tree_reduce",
    "tree_reduce_associative",
    "tree_replace_at",
    "tree_scale",
    "tree_select",
    "tree_structure",
    "tree_subtract",
    "tree_sum",
    "tree_summary",
    "tree_to",
    "tree_transpose",
    "tree_unflatten",
    "tree_zeros_like",
    "unregister_pytree_node",
    "value_and_grad",
    "vjp",
    "vmap",
]
