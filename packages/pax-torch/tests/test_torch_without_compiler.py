"""Optimizers import no `torch.compile`, and step as they do where it is imported."""

import subprocess
import sys

PROGRAM = """
import sys
import torch
import pax_torch

def steps(cls):
    optimizer = pax_torch.functional_optimizer(cls, lr=0.1)
    params = torch.linspace(-1, 1, 16).reshape(4, 4)
    state, loss = optimizer.init(params), lambda w: (w**2).sum()
    for _ in range(3):
        grads = pax_torch.grad(loss)(params)
        if cls is torch.optim.SparseAdam:
            grads = grads.to_sparse()
        by_value = {"value_fn": loss} if cls is torch.optim.LBFGS else {}
        params, state = optimizer.step(params, grads, state, **by_value)
    return params

class Own(torch.optim.SGD):
    def add_param_group(self, group):
        super().add_param_group(group)
        self.added = True

hooked = []
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *_: hooked.append(torch.is_grad_enabled()))
classes = [c for c in vars(torch.optim).values() if isinstance(c, type) and c is not torch.optim.Optimizer]
assert len(classes) > 9
before = [steps(cls) for cls in classes]
assert "torch._dynamo" not in sys.modules, "imported"
assert hooked and all(hooked)
assert pax_torch.functional_optimizer(Own, lr=0.1)._class_step._prototype.added
assert "torch._dynamo" in sys.modules
count = len(hooked)
for cls, params in zip(classes, before, strict=True):
    assert torch.equal(steps(cls), params), cls
assert len(hooked) == 2 * count
"""


def test_steps_without_the_compiler_are_those_with_it():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
