"""The workflows: actions by hash, few permissions, no job without an end, and the bill of materials."""

import hashlib
import re
import tomllib

import pytest

import distributions
import sbom

FOLDER = distributions.ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
JOB = re.compile(r"^  [\w-]+:\n(?:(?:    .*)?\n)*", re.MULTILINE)


def jobs(path):
    return JOB.findall(path.read_text().split("\njobs:\n")[1])


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request):
    return request.param


def test_actions_are_pinned_by_hash_and_say_their_version(workflow):
    used = re.findall(r"uses: (.*)", workflow.read_text())
    assert used
    assert [
        use for use in used if not re.match(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)
    ] == []


def test_one_action_has_one_hash():
    used = {use for path in WORKFLOWS for use in re.findall(r"uses: (\S+@\w+)", path.read_text())}
    assert len({use.split("@")[0] for use in used}) == len(used)


def test_each_job_ends_and_has_permissions_of_its_own(workflow):
    assert "\npermissions: {}\n" in workflow.read_text()
    found = jobs(workflow)
    assert len(found) == workflow.read_text().count("runs-on:")
    for job in found:
        assert re.search(r"^    timeout-minutes: \d+$", job, re.MULTILINE)
        assert re.search(r"^    permissions:", job, re.MULTILINE)


def test_nothing_but_the_registry_is_asked_in_a_release():
    text = (FOLDER / "release.yml").read_text()
    assert "INDEX" not in text
    assert "cache:" not in text
    for job in jobs(FOLDER / "release.yml"):
        if "id-token: write" in job:
            assert "pip install" not in job


def test_the_gate_waits_for_every_job_and_not_for_the_nightly_builds():
    text = (FOLDER / "ci.yml").read_text()
    names = set(re.findall(r"^  ([\w-]+):$", text.split("\njobs:\n")[1], re.MULTILINE))
    waited = re.search(r"name: all green\n.*\n    needs: \[(.*)\]", text)[1]
    assert set(waited.split(", ")) == names - {"green"}


def test_build_tools_of_the_release_have_hashes():
    folder = distributions.ROOT / "tools" / "requirements"
    pinned = re.findall(
        r"^[\w-]+==\S+ \\\n    --hash", (folder / "build.txt").read_text(), re.MULTILINE
    )
    assert len(pinned) >= 3
    backends = (folder / "backends.txt").read_text()
    for name in distributions.NAMES:
        system = tomllib.loads((distributions.folder(name) / "pyproject.toml").read_text())
        for demand in system["build-system"]["requires"]:
            assert "==" in demand or re.match(r"[\w-]+", demand)[0] + "==" in backends


@pytest.fixture
def dist(tmp_path):
    for name in distributions.NAMES:
        (tmp_path / f"{distributions.file_stem(name)}.tar.gz").write_text(name)
    return tmp_path


def test_the_bill_of_materials_names_files_and_dependencies(dist):
    bill = sbom.bill(dist)
    ours = {each["name"]: each for each in bill["components"][: len(distributions.NAMES)]}
    (file,) = ours["opax"]["components"]
    assert file["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(b"opax").hexdigest()}]
    known = {component["bom-ref"] for component in bill["components"]}
    for entry in bill["dependencies"]:
        assert {entry["ref"], *entry["dependsOn"]} <= known
    edges = {entry["ref"].split("@")[0]: entry["dependsOn"] for entry in bill["dependencies"]}
    assert edges["pkg:pypi/pax-tree"] == []
    assert "pkg:pypi/pybind11" in edges["pkg:pypi/torch2jax-bridge"]


def test_a_package_without_files_has_no_bill(dist):
    (dist / f"{distributions.file_stem('opax')}.tar.gz").unlink()
    with pytest.raises(SystemExit, match=r"holds no file of opax .*; build it first"):
        sbom.bill(dist)
