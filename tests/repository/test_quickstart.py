"""The quickstart: its command line, its data, its report, and the whole run."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

FOLDER = Path(__file__).parents[2] / "examples" / "quickstart"
NAMES = ["data", "options", "training_log", "report"]
PNG = b"\x89PNG\r\n\x1a\n"
WRONG = [
    (["--epochs", "0"], "argument --epochs: '0' is not a whole number from 1 to 10000"),
    (["--epochs", "-3"], "argument --epochs: '-3' is not a whole number from 1 to 10000"),
    (["--epochs", "2.5"], "argument --epochs: '2.5' is not a whole number"),
    (["--epochs", "9" * 5000], "is not a whole number from 1 to 10000"),
    (["--epochs"], "argument --epochs: expected one argument"),
    (["--seed", "one"], "argument --seed: 'one' is not a whole number from 0 to 4294967295"),
    (["--seed", "-1"], "argument --seed: '-1' is not a whole number from 0 to 4294967295"),
    (["--seed", "4294967296"], "argument --seed: '4294967296' is not a whole number"),
    (["--only", "tensorflow"], "argument --only: invalid choice: 'tensorflow'"),
    (["--out", f"{__file__}/figures"], "(Not a directory); choose another one"),
    (["--out", __file__], "(File exists); choose another one"),
    (["--out", "/proc/nowhere"], "cannot write into the folder '/proc/nowhere'"),
    (["--verbose"], "unrecognized arguments: --verbose"),
    (["two\nlines"], "unrecognized arguments: two lines"),
]


def run_python(*arguments, timeout=180):
    # Colours may be forced where the tests run; the lines that are read here are plain.
    plain = {key: os.environ[key] for key in os.environ.keys() - {"FORCE_COLOR", "TTY_COMPATIBLE"}}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**plain, "COLUMNS": "100"},
    )


def run_quickstart(*arguments):
    return run_python("-W", "error", FOLDER, *arguments)


def shown_losses(output, name):
    return [float(line.split()[-1]) for line in output.splitlines() if line.startswith(name)]


@pytest.fixture(scope="module")
def quickstart():
    """The quickstart's own modules, which a run finds in the folder of the script."""
    sys.path.insert(0, str(FOLDER))
    try:
        modules = {name: importlib.import_module(name) for name in NAMES}
        spec = importlib.util.spec_from_file_location("quickstart_main", FOLDER / "__main__.py")
        modules["main"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules["main"])
        yield SimpleNamespace(**modules)
    finally:
        sys.path.remove(str(FOLDER))
        for name in NAMES:
            sys.modules.pop(name, None)


def make_result(quickstart, labels, mistakes, name="some training"):
    log = quickstart.training_log.TrainingLog(Console(quiet=True), name, steps=30)
    for step in log.watch(range(30)):
        log.record(1 / (1 + step))
    predictions = np.array(labels)
    predictions[:mistakes] = (predictions[:mistakes] + 1) % 10
    return log.result(1234, predictions, labels)


@pytest.mark.parametrize(
    ("arguments", "message"), WRONG, ids=[" ".join(row[0]).split("/")[0][:20] for row in WRONG]
)
def test_a_wrong_argument_is_one_line(quickstart, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_info:
        quickstart.options.parse(arguments)
    captured = capsys.readouterr()
    assert exit_info.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("quickstart: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_a_wrong_argument_makes_no_folder(quickstart, tmp_path):
    with pytest.raises(SystemExit):
        quickstart.options.parse(["--out", str(tmp_path / "new"), "--epochs", "0"])
    assert not (tmp_path / "new").exists()


def test_arguments(quickstart, tmp_path):
    out = tmp_path / "deep" / "down"
    arguments = ["--epochs", "7", "--seed", "3", "--only", "mixed", "--out", str(out)]
    settings = quickstart.options.parse(arguments)
    assert vars(settings) == {"epochs": 7, "seed": 3, "only": "mixed", "out": out}
    assert out.is_dir()


def test_the_script_exits_with_2():
    done = run_quickstart("--epochs", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "quickstart: argument --epochs: '0' is not a whole number from 1 to 10000\n"
    )


def test_the_split_is_fixed_by_the_seed(quickstart):
    one, same, other = (quickstart.data.load(seed) for seed in (5, 5, 6))
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(same, name))
    assert not np.array_equal(one.test_labels, other.test_labels)


def test_the_split_is_a_partition(quickstart):
    from sklearn.datasets import load_digits

    digits = quickstart.data.load(0)
    ours = np.concatenate([digits.train_images, digits.test_images]).reshape(-1, 64)
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    images, targets = load_digits(return_X_y=True)
    rows = np.column_stack([ours * 16, labels])
    expected = np.column_stack([images, targets])
    # No two images of the data are equal, so equal sorted rows mean: each one exactly once.
    assert len(np.unique(images, axis=0)) == len(images)
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])
    assert len(digits.test_labels) == 360


def test_minibatches_have_one_shape_and_an_order_of_their_own(quickstart):
    digits = quickstart.data.load(0)
    batches = list(quickstart.data.minibatches(digits, epochs=2, seed=0))
    assert len(batches) == digits.steps(epochs=2) == 44
    assert {(x.shape, x.dtype.name) for x, _ in batches} == {((64, 8, 8), "float32")}
    assert {(y.shape, y.dtype.name) for _, y in batches} == {((64,), "int32")}
    first = np.concatenate([x for x, _ in batches[:22]]).reshape(-1, 64)
    assert len(np.unique(first, axis=0)) == len(first)
    assert not np.array_equal(batches[0][0], batches[22][0])


def test_the_log_prints_lines_where_there_is_no_terminal(quickstart, capsys):
    log = quickstart.training_log.TrainingLog(
        Console(force_terminal=False), "some training", steps=25
    )
    for step in log.watch(range(25)):
        log.record(step)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[-1].split() == ["some", "training", "step", "25/25", "loss", "24.0000"]
    assert len(log.step_seconds) == 25


def test_the_report_writes_two_figures(quickstart, tmp_path):
    labels = np.arange(360) % 10
    results = [make_result(quickstart, labels, mistakes) for mistakes in (0, 4, 20)]
    paths = quickstart.report.save_figures(results, labels, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert all(path.read_bytes().startswith(PNG) for path in paths)


def test_the_table_shows_each_training(quickstart, capsys):
    labels = np.arange(360) % 10
    result = make_result(quickstart, labels, mistakes=9, name="some training")
    quickstart.report.print_table(Console(width=80, force_terminal=False), [result], 0.95)
    row = next(line for line in capsys.readouterr().out.splitlines() if "some training" in line)
    assert row.split("│")[2].strip() == "97.5%"
    assert row.split("│")[4].strip() == "1,234"


@pytest.mark.parametrize(("mistakes", "status"), [(18, 0), (19, 1)], ids=["95.0%", "94.7%"])
def test_the_exit_status_says_whether_all_are_accurate(quickstart, capsys, mistakes, status):
    labels = np.arange(360) % 10
    results = [make_result(quickstart, labels, n, f"with {n}") for n in (0, mistakes)]
    assert quickstart.main.exit_status(results) == status
    expected = "quickstart: below the required 95% accuracy: with 19\n" if status else ""
    assert capsys.readouterr().err == expected


def test_a_run_trains_three_ways(tmp_path):
    done = run_quickstart("--epochs", "4", "--out", tmp_path / "figures")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    names = [row[1].strip() for row in rows]
    assert names == ["pax_torch", "pax_jax + opax", "torch2jax_bridge + opax"]
    assert all(float(row[2].strip(" %")) >= 95 for row in rows)
    assert len({row[4].strip() for row in rows}) == 1, "the same network, three times"
    # The same network, weights and batches: only the one that takes the steps differs.
    begin = [shown_losses(done.stdout, name)[:3] for name in (names[0], names[2])]
    assert len(begin[0]) == 3
    assert begin[0] == pytest.approx(begin[1], rel=0.05)
    for path in (tmp_path / "figures" / "loss.png", tmp_path / "figures" / "confusion.png"):
        assert str(path) in done.stdout
        assert path.read_bytes().startswith(PNG)


def test_figures_that_cannot_be_saved_are_one_line(tmp_path):
    (tmp_path / "loss.png").mkdir()
    done = run_quickstart("--only", "torch", "--epochs", "1", "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("quickstart: the figures could not be saved: ")
    assert done.stderr.count("\n") == 1
    assert "loss.png" in done.stderr


@pytest.mark.parametrize("only", ["torch", "jax"])
def test_one_way_imports_only_its_own_packages(only, tmp_path):
    absent = {"torch": {"jax", "pax_jax"}, "jax": {"torch", "pax_torch"}}[only]
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['quickstart', '--only', {only!r}, '--epochs', '4', '--out', {str(tmp_path)!r}]\n"
        "try:\n"
        f"    runpy.run_path({str(FOLDER)!r}, run_name='__main__')\n"
        "except SystemExit as error:\n"
        f"    print('loaded:', sorted({absent!r} & set(sys.modules)), error.code)\n"
    )
    done = run_python("-c", program)
    assert done.stdout.splitlines()[-1] == "loaded: [] 0", done.stderr
