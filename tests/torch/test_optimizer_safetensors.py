"""The state of every optimizer goes through safetensors: numbers as scalars, the structure beside it."""

import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

import pax_torch as pax
from pax_tree import keystr

CLASSES = sorted(
    name
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer) and name != "Optimizer"
)


def loss(params):
    return (params["w"] ** 2).sum() + (params["b"] ** 4).sum()


def loss_of_matrices(params):
    return (params["w"] ** 2).sum()


def advance(optimizer, params, state, steps, f):
    for _ in range(steps):
        grads = pax.grad(f)(params)
        if "SparseAdam" in repr(optimizer):
            grads = pax.tree_map(torch.Tensor.to_sparse, grads)
        extra = {"value_fn": f} if "LBFGS" in repr(optimizer) else {}
        params, state = optimizer.step(params, grads, state, **extra)
    return params, state


def as_tensor(leaf):
    return torch.as_tensor(leaf, dtype=torch.float64 if isinstance(leaf, float) else None)


def save(tree, file):
    flat, treedef = pax.tree_flatten_with_path(tree)
    save_file({keystr(path): as_tensor(leaf).clone() for path, leaf in flat}, file)
    are_numbers = [not isinstance(leaf, torch.Tensor) for _, leaf in flat]
    return pickle.dumps((treedef, [keystr(path) for path, _ in flat], are_numbers))


def load(file, structure):
    # Kernels sum in another order where memory is not aligned, as it is not within the file.
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    treedef, names, are_numbers = pickle.loads(structure)
    leaves = [tensors[name] for name in names]
    return treedef.unflatten(
        [x.item() if is_number else x for x, is_number in zip(leaves, are_numbers, strict=True)]
    )


@pytest.mark.parametrize("name", CLASSES)
def test_saved_state_goes_on_as_if_never_saved(name, tmp_path):
    optimizer = pax.functional_optimizer(getattr(torch.optim, name))
    params = {"w": torch.linspace(-1.0, 2.0, 6).reshape(2, 3)}
    f = loss_of_matrices
    if name != "Muon":
        params["b"] = torch.tensor([0.5, -2.0])
        f = loss
    params, state = advance(optimizer, params, optimizer.init(params), 3, f)
    structure = save((params, state), tmp_path / "state.safetensors")
    loaded = load(tmp_path / "state.safetensors", structure)
    torch.testing.assert_close(
        advance(optimizer, *loaded, 3, f),
        advance(optimizer, params, state, 3, f),
        rtol=0,
        atol=0,
    )
