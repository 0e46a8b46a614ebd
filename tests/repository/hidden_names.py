"""Make the basic calls of a package where names of other libraries are gone, and print what came of each.

    python tests/repository/hidden_names.py pax-torch

Each group of names is hidden in a process of its own, forked from one that has PyTorch or JAX loaded.
It prints a JSON object with the results of each group: for each call "ok", or the text of its error.
"""

import importlib
import importlib.util
import json
import os
import re
import sys
import traceback
import types
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import distributions  # noqa: E402
import foreign_names  # noqa: E402
import source_files  # noqa: E402

# What the processes share, because it is slow to load.
PRELOADED = {
    "pax-tree": ["jax.numpy", "torch.utils._pytree"],
    "pax-torch": ["torch._dynamo", "torch.optim.lr_scheduler", "torch._subclasses.fake_tensor"],
    "pax-jax": ["jax.numpy"],
    "opax": ["jax.numpy", "optax", "optax.contrib"],
    "torch2jax-bridge": [
        "jax.numpy",
        "torch._dynamo",
        "torch._decomp.decompositions_for_jvp",
        "torch._inductor.output_code",
        "torch._subclasses.fake_tensor",
        "networkx",
    ],
}


def main(package: str) -> None:
    for module in PRELOADED[package]:
        importlib.import_module(module)
    results = {title: in_a_fork(package, names) for title, names in groups(names_of(package))}
    print(json.dumps(results))


def names_of(package: str) -> list[str]:
    """The names that the package looks up, by its own source."""
    rooms = [
        file
        for module, file in source_files.python_sources(package).items()
        if module.rpartition(".")[2] == foreign_names.ROOM
    ]
    return sorted({name for room in rooms for name in foreign_names.looked_up(room)})


def groups(names: list[str]) -> list[tuple[str, list[str]]]:
    """Each name with what is in it, and the names of each module that holds several."""
    modules: dict[str, list[str]] = {}
    for name in names:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    several = [(f"{module}.*", inside) for module, inside in modules.items() if len(inside) > 1]
    alone = [
        (name, [each for each in names if f"{each}.".startswith(f"{name}.")]) for name in names
    ]
    return [("nothing", []), *alone, *several]


def in_a_fork(package: str, names: list[str]) -> dict[str, str]:
    """What comes of the basic calls in a new process where `names` are hidden."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            json.dump(outcomes(package, names), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if status == 0 else {"process": f"ended with status {status}"}


def outcomes(package: str, names: list[str]) -> dict[str, str]:
    """What comes of each basic call: "ok", the error's text if it names what is missing, else where it arose."""
    hide(names)
    own = distributions.import_name(package)
    try:
        calls = importlib.import_module(f"tests.repository.basic_calls.{own}")
        checks = [f for f in vars(calls).values() if isinstance(f, types.FunctionType)]
        found = {}
        for check in checks:
            if check.__module__ == calls.__name__ and not check.__code__.co_argcount:
                found[check.__name__] = outcome(check, names)
        return found
    except BaseException:
        return {"import": traceback.format_exc()}


def hide(names: list[str]) -> None:
    """Let `foreign` take the names for gone, before anything of ours is imported."""
    package = importlib.util.find_spec("pax_tree")
    spec = importlib.machinery.PathFinder.find_spec(
        "pax_tree._foreign", package.submodule_search_locations
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.hidden.update(names)
    sys.modules["pax_tree._foreign"] = module


def outcome(check, names: list[str]) -> str:
    try:
        check()
        return "ok"
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        says = any(
            re.search(
                rf"\S needs {re.escape(name)}, which the installed \w+ [\w.+]+ does not have", text
            )
            for name in names
        )
        return f"says: {error}" if says else text


if __name__ == "__main__":
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main(*sys.argv[1:])
