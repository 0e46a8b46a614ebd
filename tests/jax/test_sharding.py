"""Sharded train steps equal the step on one device; rules that cannot be are errors."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax.sharding import PartitionSpec as P

import pax_jax as pax

SCRIPT = Path(__file__).with_name("sharded_steps.py")
WAYS = {"data parallel": 1.0, "fsdp": 0.2, "tensor parallel": 0.5, "all": 0.4}


def start(devices, *arguments):
    flags = (
        f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
        " --xla_cpu_multi_thread_eigen=false"
    )
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(SCRIPT), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
    )


def finish(process):
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def reports():
    return {report["way"]: report for report in finish(start(8))}


@pytest.mark.parametrize("way", WAYS)
def test_sharded_steps_equal_those_of_one_device(reports, way):
    report = reports[way]
    assert report["losses"] == pytest.approx(report["expected"], rel=1e-5)
    assert len(set(report["losses"])) == 2
    assert report["distance"] < 1e-4
    # Each device holds its part of the parameters, and no more.
    assert report["held"] == 1.0 if WAYS[way] == 1.0 else report["held"] < WAYS[way]


def test_batch_norm_over_eight_replicas_sees_the_whole_batch(reports):
    assert reports["batch norm"]["distance"] < 1e-5


def in_two(devices, *arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(devices, rank, port, *arguments) for rank in range(2)]
    try:
        return [finish(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_what_processes_give_is_compared():
    ((first,), (second,)) = in_two(1)
    apart = "ValueError: shard_batch must be given parts that fit together in all processes: at the batch"
    for said in (first, second):
        assert said["rows of others"].startswith(f"{apart} process 1 has rows with the checksum")
        assert "make a mesh whose axis goes over them." in said["rows of others"]
        assert said["same rows"] == said["even"] == "28.0"
        assert f"{apart} process 1 has 2 rows for each part of float32[2], and" in said["uneven"]
        assert "at batch.y process 1 has 4 rows for each part of int" in said["other dtype"]
        assert "at batch.z process 1 has no such leaf" in said["other key"]
        assert (
            "since process 1 has an error at the batch: the batch is a number" in said["a number"]
        )
        assert "at 0 process 1 has int32[2] with the checksum" in said["other values"]
        assert said["same values"] == "[[1.0, 1.0]]"
        assert said["keys"] == "True"
    assert first["parts"] == "[[[0.0, 1.0], [2.0, 3.0]]]"
    assert second["parts"] == "[[[4.0, 5.0], [6.0, 7.0]]]"
    absent = "RuntimeError: Process 1 did not make the call `shard_batch` that process 0 makes, within 0.5"
    assert first["absent"].startswith(absent)


def test_two_processes_train_as_one_and_share_a_checkpoint(reports, tmp_path):
    results = in_two(2, tmp_path / "checkpoints")
    expected = reports["fsdp"]["expected"]
    refused = []
    for result, damage in results:
        for what in ("in process 0", "in process 1", "in the files"):
            assert "damaged" in damage[f"flipped {what}"], damage
        assert "a has the shape (3,), and cannot be loaded to the sh" in damage["other sharding"]
        other = damage["other tree in process 1"]
        assert "b is float32[3], and is not in the checkpoint" in other
        refused.append(other.startswith("Loading from"))
        assert result["losses"] == pytest.approx(expected, rel=1e-5)
        assert result["held"] < 0.4
        assert result["loaded the same"]
    assert refused == [True, False]  # process 0 says what has failed in the other


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [("weight", P("rows"))],
            "The rule 'weight' names the mesh axis 'rows'; the mesh has 'data'",
        ),
        (
            [("bias", P(None, "data"))],
            r"'bias' divides 2 axes, and modules\.0\.bias has the shape \(3,\)",
        ),
    ],
)
def test_a_rule_that_cannot_be(rules, message):
    net = pax.Sequential(pax.Linear(4, 3))
    with pytest.raises(ValueError, match=message):
        pax.sharding.shardings(net, jax.make_mesh((1,), ("data",)), rules)


def test_a_rule_that_does_not_divide():
    mesh = jax.sharding.AbstractMesh((4,), ("data",))
    net = pax.Sequential(pax.Linear(4, 6))
    with pytest.raises(
        ValueError, match=r"modules\.0\.weight.* \(4, 6\).*4 devices of 'data', and 6"
    ):
        pax.sharding.shardings(net, mesh, [("weight", P(None, "data"))])
    with pytest.raises(ValueError, match="axis names the mesh axis 'model'; the mesh has 'data'"):
        pax.sharding.fsdp(net, mesh, "model")


def test_the_first_rule_wins_and_optimizers_follow_their_parameters():
    import optax

    mesh = jax.sharding.AbstractMesh((2, 2), ("data", "model"))
    net = pax.Sequential(pax.Linear(4, 6), pax.Linear(6, 4))
    optimizer = pax.optim.from_optax(optax.adam(0.1))(net.parameters())
    rules = [(r"0\.weight$", P("data")), (r"weight$", P(None, "model"))]
    found = pax.sharding.shardings((net, optimizer), mesh, rules)
    assert [place.spec for place in jax.tree.leaves(found[0])] == [
        P("data"),
        P(),
        P(None, "model"),
        P(),
    ]
    moments = found[1].state[0].mu
    assert [place.spec for place in jax.tree.leaves(moments)] == [
        P("data"),
        P(),
        P(None, "model"),
        P(),
    ]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [(r"0\.wieght", P("data"))],
            r"rule '0\\.wieght' matches none of the 4 leaves; the nearest are 'm",
        ),
        (
            [("weight", P()), (r"0\.weight", P("data"))],
            r"'0\\.weight' decides nothing: .*'modules\.0",
        ),
    ],
)
def test_a_rule_without_effect(rules, message):
    mesh = jax.sharding.AbstractMesh((2,), ("data",))
    net = pax.Sequential(pax.Linear(4, 6), pax.Linear(6, 4))
    for place in (pax.sharding.shardings, pax.sharding.shard):
        with pytest.raises(ValueError, match=message):
            place(net, jax.make_mesh((1,), ("data",)), rules)
    with pytest.raises(ValueError, match=message):
        pax.sharding.fsdp(net, mesh, rules=rules)
    assert pax.sharding.shardings(net, mesh, rules, allow_unmatched=True)
    assert pax.sharding.fsdp(net, mesh, rules=rules, allow_unmatched=True)
    assert pax.sharding.shardings(net, mesh, [("weight", P("data")), (".*", P())])


def test_an_optimizer_may_have_no_array_for_a_parameter():
    import optax

    optimizer = pax.optim.from_optax(optax.sgd(0.1))(pax.Linear(4, 6).parameters())
    mesh = jax.sharding.AbstractMesh((2,), ("data",))
    assert pax.sharding.shardings(optimizer, mesh, [("weight", P("data"))]) is not None


def test_rules_beside_specs():
    mesh = jax.make_mesh((1,), ("data",))
    net = pax.Linear(4, 6)
    with pytest.raises(ValueError, match="give the rules to `shardings` or `fsdp`"):
        pax.sharding.shard(net, pax.sharding.shardings(net, mesh), [("weight", P("data"))])


def test_rules_for_variables_of_flax():
    nnx = pytest.importorskip("flax.nnx")
    state = nnx.state(nnx.Linear(4, 6, rngs=nnx.Rngs(0)))
    mesh = jax.sharding.AbstractMesh((2,), ("data",))
    found = pax.sharding.shardings(state, mesh, [("^kernel$", P("data"))])
    assert [place.spec for place in jax.tree.leaves(found)] == [P(), P("data")]


def test_fsdp_divides_what_no_rule_divides():
    mesh = jax.sharding.AbstractMesh((2, 2), ("data", "model"))
    net = pax.Sequential(pax.Linear(4, 6), pax.Linear(5, 7))
    rules = [(r"0\.weight$", P(None, "model")), (r"0\.bias$", P(("data", "model")))]
    with pytest.raises(ValueError, match=r"6 is no multiple"):
        pax.sharding.fsdp(net, mesh, rules=rules, min_size=1)
    found = pax.sharding.fsdp(net, mesh, rules=rules[:1], min_size=1)
    specs = [place.spec for place in jax.tree.leaves(found)]
    assert specs == [P("data", "model"), P("data"), P(), P()]


@pytest.mark.parametrize("place", [pax.sharding.shardings, pax.sharding.fsdp])
def test_rules_are_about_the_axes_of_one_layer_of_a_stack(place):
    import optax

    mesh = jax.sharding.AbstractMesh((2, 2), ("data", "model"))
    make = lambda scan: pax.nets.Transformer(8, 2, 4, scan=scan, rng_key=jax.random.key(0))  # noqa: E731
    options = {"rules": pax.sharding.transformer_rules()}
    options |= {"min_size": 8} if place is pax.sharding.fsdp else {}
    listed, stacked = (place(make(scan), mesh, **options) for scan in (False, True))
    layers, stack = (jax.tree.leaves(part) for part in (listed.layers[0], stacked.layers.layers))
    for one, all_of_them in zip(layers, stack, strict=True):
        assert all_of_them.spec == (P(None, *one.spec) if one.spec else P())
    assert stacked.output_norm.scale.spec == listed.output_norm.scale.spec
    optimizer = pax.optim.from_optax(optax.adam(0.1))(make(True).parameters())
    moments = place(optimizer, mesh, **options).state[0].mu
    assert moments.layers.layers.dense_in.weight == stacked.layers.layers.dense_in.weight
    whole = [("dense_in.weight", P("data", None, "model"))]  # an entry for each axis of the stack
    found = pax.sharding.shardings(make(True), mesh, whole)
    assert found.layers.layers.dense_in.weight.spec == whole[0][1]
    with pytest.raises(ValueError, match=r"divides 3 axes, and .*\(4, 8\) of stacked layers"):
        pax.sharding.shardings(make(True), mesh, [("dense_out.bias", P(None, None, "data"))])


def test_shard_inside_of_jit_holds_the_layout():
    mesh = jax.make_mesh((1,), ("data",))
    net = pax.Linear(4, 6)
    layout = pax.sharding.fsdp(net, mesh, min_size=1)
    again = jax.jit(lambda net: pax.sharding.shard(jax.tree.map(lambda x: x + 1, net), layout))(net)
    assert again.weight.sharding.is_equivalent_to(layout.weight, 2)
    assert bool((again.weight == net.weight + 1).all())


MESH = jax.sharding.AbstractMesh((2, 4), ("data", "model"))
MATRIX = P("model", None)


@pytest.mark.parametrize(
    ("name", "specs"),
    [
        ("adam", {"mu.weight": MATRIX, "nu.weight": MATRIX}),
        ("lbfgs", {"diff_params_memory.weight": P(None, "model", None)}),
        ("novograd", {"mu.weight": MATRIX, "nu.weight": P()}),
        ("adafactor", {"v_row.weight": P(), "v_col.weight": P()}),
    ],
)
def test_state_of_another_shape_is_not_divided_along_another_axis(name, specs):
    import optax

    opax = pytest.importorskip("opax")
    net = pax.Linear(128, 256)
    rules = [("weight$", MATRIX)]
    if name == "lbfgs":
        alone = opax.lbfgs()(net.parameters())
    else:
        alone = pax.optim.from_optax(getattr(optax, name)(1e-3))(net.parameters())
    for tree in (alone, (net, alone), (net, alone.state), {"net": net, "optimizer": alone}):
        rows = {row.path: row for row in pax.sharding.report(tree, MESH, rules).rows}
        for end, spec in specs.items():
            found = [row for path, row in rows.items() if path.endswith(end)]
            assert [row.spec for row in found] == [spec], (end, rows.keys())
            assert bool(found[0].note) == (spec != MATRIX)
    row = pax.sharding.fsdp(alone, MESH, rules=[("v_row.weight$", P("data"))], allow_unmatched=True)
    if name == "adafactor":  # a rule about the state itself
        assert [x.spec for x in jax.tree.leaves(row) if x.spec == P("data")]


def test_state_made_by_vmap_and_fsdp_of_state():
    opax = pytest.importorskip("opax")

    net = pax.Linear(64, 128)
    transformation = opax.lbfgs(memory_size=8)
    stacked = jax.eval_shape(
        jax.vmap(lambda _: transformation(net.parameters())), jax.numpy.ones(3)
    )
    found = pax.sharding.report(stacked, MESH, [("weight$", MATRIX)]).rows
    assert {row.spec for row in found if row.path.endswith("memory.weight")} == {
        P(None, None, "model", None)
    }
    spread = pax.sharding.fsdp(transformation(net.parameters()), MESH)
    memories = [x.spec for x in jax.tree.leaves(spread) if len(x.spec) == 3]
    assert set(memories) == {P(None, None, "data")}  # as the parameter, whose second axis is larger


def test_report_and_strict():
    net = pax.Sequential(pax.Linear(8, 16), pax.Linear(16, 4))
    rules = [(r"0\.weight$", P(None, "model")), ("wieght", P("data"))]
    report = pax.sharding.report(net, MESH, rules)
    assert [(row.path, row.bytes, row.rule) for row in report.rows][:2] == [
        ("modules.0.weight", 8 * 16, r"0\.weight$"),
        ("modules.0.bias", 16 * 4, None),
    ]
    assert report.bytes == sum(row.bytes for row in report.rows)
    assert list(report.unmatched) == ["wieght"]
    assert "nearest are" in report.unmatched["wieght"]
    assert "float32[8, 16]  P(None, 'model')" in str(report)
    spread = pax.sharding.report(net, MESH, fsdp_axis="data", min_size=1)
    assert spread.bytes == report.bytes + 384 - (8 * 16 * 4 + 16 * 4 * 4 + 80) // 2
    with pytest.raises(ValueError, match=r"No rule is found in 'modules\.0\.bias'"):
        pax.sharding.shardings(net, MESH, rules[:1], strict=True)
    whole = [*rules[:1], (".*", P())]
    assert pax.sharding.shardings(net, MESH, whole, strict=True) is not None


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        (
            [("weight", "model")],
            TypeError,
            r"'weight' has 'model' .* write PartitionSpec\('model'\)",
        ),
        ([("weight", (None, "model"))], TypeError, r"write PartitionSpec\(None, 'model'\)"),
        ([("weight", None)], TypeError, r"'weight' has None .* write PartitionSpec\(\)"),
        ([("weight", P(P.UNCONSTRAINED))], ValueError, "'weight' leaves an axis UNCONSTRAINED"),
        ([("weight", P("data", "data"))], ValueError, "'weight' divides two axes over .* 'data'"),
        ([("we(ight", P())], ValueError, r"'we\(ight' is no regular expression"),
        (("weight", P()), TypeError, "Rules are a list of pairs"),
        ({"weight": P()}, TypeError, "Rules are a list of pairs"),
    ],
)
def test_a_rule_that_is_none(rules, error, message):
    for call in (pax.sharding.shardings, pax.sharding.report):
        with pytest.raises(error, match=message):
            call(pax.Linear(4, 4), MESH, rules)


def test_heads_that_do_not_divide_are_a_warning():
    net, rules = pax.nets.Transformer(16, 2, 1), pax.sharding.transformer_rules()
    with pytest.warns(
        UserWarning, match=r"attention.* 5 more arrays: the 2 heads do not divide over 4"
    ):
        pax.sharding.shardings(net, MESH, rules)
    with pytest.raises(ValueError, match=r"2 heads do not divide .* and strict=True"):
        pax.sharding.shardings(net, MESH, [*rules, (".*", P())], strict=True)


def test_shapes_of_eval_shape_can_be_sharded():
    mesh = jax.make_mesh((1,), ("data",))
    shapes = jax.eval_shape(lambda: pax.Linear(4, 6, rng_key=jax.random.key(0)))
    found = pax.sharding.shard(shapes, pax.sharding.fsdp(shapes, mesh, min_size=1))
    assert found.weight.sharding == pax.sharding.fsdp(shapes, mesh, min_size=1).weight
    assert isinstance(found.bias, jax.ShapeDtypeStruct)


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_arrays_lie_on_the_mesh_that_was_given(kind):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(getattr(jax.sharding.AxisType, kind),))
    net = pax.sharding.shard(
        pax.Linear(4, 6), pax.sharding.fsdp(pax.Linear(4, 6), mesh, min_size=1)
    )
    x = pax.sharding.shard_batch(jax.numpy.ones((3, 4)), mesh)
    mine = jax.device_put(jax.numpy.ones((3, 4)), jax.sharding.NamedSharding(mesh, P("data")))
    assert net.weight.sharding.mesh == x.sharding.mesh == mesh
    expected = net(x)
    assert ((x + mine) == 2).all()
    assert (jax.jit(lambda net, x: net(x))(net, mine) == expected).all()
    with jax.set_mesh(mesh):
        assert (jax.jit(lambda net, x: net(x))(net, x) == expected).all()
    held = jax.jit(
        lambda x: pax.sharding.shard(2 * x, jax.sharding.NamedSharding(mesh, P(None, "data")))
    )
    there = jax.sharding.NamedSharding(mesh, P(None, "data"))
    assert held(x).sharding.is_equivalent_to(there, 2)
