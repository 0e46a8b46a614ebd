"""The plan of `benchmarks/gpu.sh`: a part that fails, dies or hangs costs the others nothing."""

import json

from benchmarks import gpu

STEPS = {
    "right": ("print('all is well')", "passed", "all is well"),
    "wrong": ("raise SystemExit('a sentence')", "failed", "a sentence"),
    "dies": ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV", ""),
    "hangs": ("print('begun', flush=True)\nimport time; time.sleep(60)", "out of time", "begun"),
}


def test_each_step_has_its_process_its_limit_and_its_log(tmp_path):
    plan = gpu.Plan(tmp_path, 30)
    limits = {"hangs": 0.5}
    steps = [
        gpu.Step(name, ("-c", code), limits.get(name, 30)) for name, (code, *_) in STEPS.items()
    ]
    plan.run(steps, 2)
    plan.save()
    found = [(o.name, o.state, o.said) for o in plan.outcomes]
    assert found == [(name, state, said) for name, (_, state, said) in STEPS.items()]
    assert plan.table().splitlines()[0] == "1 of 4 steps passed"
    assert [text.split("\n")[0] for text in plan.failures()] == [
        "--- wrong",
        "--- dies",
        "--- hangs",
    ]
    assert (tmp_path / "summary.txt").read_text() == plan.table() + "\n"
    assert len(json.loads((tmp_path / "summary.json").read_text())) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "logs.tar.gz",
        "summary.json",
        "summary.txt",
    ]


def test_steps_for_which_there_is_no_time_are_not_run(tmp_path):
    plan = gpu.Plan(tmp_path, 0)
    plan.run([gpu.Step("late", ("-c", "raise SystemExit(1)"), 10)], 1)
    assert [outcome.state for outcome in plan.outcomes] == ["not run"]


def test_every_gpu_test_file_is_in_the_plan():
    named = " ".join(argument for step in gpu.tests() for argument in step.arguments)
    marked = [
        path
        for path in gpu.ROOT.glob("*/**/test_*.py")
        if ".hatch" not in path.parts and "mark.gpu" in path.read_text()
    ]
    simulation_only = {"test_simulated_gpu.py", "test_gpu_plan.py"}
    assert marked
    assert [p.name for p in marked if p.name not in simulation_only and p.name not in named] == []
