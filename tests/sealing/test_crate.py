"""The description of a run, read by the library that others read such descriptions with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from heavyweight import sealing
from heavyweight.store import RunFolder, write_json
from tests.synthetic import write_run

REFERENCE = Path(__file__).parents[2] / "data" / "reference"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("runs") / "reference"
    shutil.copytree(REFERENCE, path)
    folder = RunFolder.open(path)
    sealing.seal(folder)
    return folder


def test_it_is_an_ro_crate_that_names_every_file(run: RunFolder) -> None:
    crate = ROCrate(run.path)
    told = {entity.id for entity in crate.data_entities if not entity.id.endswith("/")}
    there = {name for name, _ in sealing.kept_files(run.path)} - {sealing.CRATE_FILE}
    assert told == there
    assert crate.root_dataset["license"].id.endswith("Apache-2.0")
    text = json.loads((run.path / sealing.CRATE_FILE).read_text())
    assert text["@context"] == "https://w3id.org/ro/crate/1.1/context"


def test_nothing_is_pointed_at_that_is_not_there(run: RunFolder) -> None:
    graph = json.loads((run.path / sealing.CRATE_FILE).read_text())["@graph"]
    known = {entity["@id"] for entity in graph}
    outside = ("http://", "https://")

    def pointed(value: object) -> list[str]:
        if isinstance(value, dict):
            return [value["@id"]] if set(value) == {"@id"} else []
        return [one for item in value for one in pointed(item)] if isinstance(value, list) else []

    for entity in graph:
        for value in entity.values():
            for name in pointed(value):
                assert name in known or name.startswith(outside), name


def test_sessions_are_actions_in_the_order_of_their_execution(run: RunFolder) -> None:
    crate = ROCrate(run.path)
    actions = [entity for entity in crate.get_by_type("CreateAction") if entity.get("startTime")]
    assert len(actions) == len(run.sessions()) > 0

    def told(action: object, name: str) -> object:
        values = action["additionalProperty"]
        return next(one["value"] for one in values if one["name"] == name)

    ordered = sorted(actions, key=lambda one: told(one, "place in the order of execution"))
    times = [one["startTime"] for one in ordered]
    assert times == sorted(times)
    for action in ordered:
        programs = {one["name"]: one["softwareVersion"] for one in action["instrument"]}
        assert {"ollama": "0.24.0", "vllm": "0.21.0"}.items() & programs.items()
        assert programs["heavyweight"] == run.run.commit
        models = [one for one in action["object"] if one.id.startswith("#model")]
        assert models[0]["identifier"].startswith("sha256:")
        assert "command" in told(action, "starts")


def values_of(entity: object) -> dict[str, object]:
    """The properties of an entity that RO-Crate has no name for; JSON is read."""
    found = {one["name"]: one["value"] for one in entity["additionalProperty"]}
    return {
        name: json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value
        for name, value in found.items()
    }


def test_programs_settings_machine_seed_and_code_are_those_of_the_records(run: RunFolder) -> None:
    """What another needs to do it again, each from the record that has it."""
    crate = ROCrate(run.path)
    plan = values_of(crate.root_dataset)
    assert plan["seed"] == run.run.seed
    assert plan["plan_sha256"] == run.run.plan_sha256
    code = crate.dereference("#heavyweight")
    assert code["description"] == "clean checkout"
    assert run.run.clean is True
    for session in (folder.record for folder in run.sessions()):
        action = crate.dereference(f"#execution-{session.session}")
        told = values_of(action)
        assert [one["environment"] for one in told["starts"]] == [
            start.environment for start in session.starts
        ]
        assert any(one["environment"] for one in told["starts"])
        for software in session.software:
            program = crate.dereference(f"#{software.name}-{software.version}")
            assert program in action["instrument"]
            kept = values_of(program) if software.detail else {}
            assert {k: v for k, v in kept.items() if "sha256" in k} == {
                k: v for k, v in software.detail.items() if "sha256" in k
            }
        machine = next(one for one in action["object"] if one.id.startswith("#machine"))
        assert machine["identifier"] == session.machine.machine_id
        assert values_of(machine)["cpu_model"] == session.machine.cpu_model
        assert values_of(machine)["memory_bytes"] == session.machine.memory_bytes
    details = [one.detail for folder in run.sessions() for one in folder.record.software]
    assert any("sha256" in name for detail in details for name in detail), "of the binaries"


def test_a_session_that_other_code_went_on_with_names_that_code(tmp_path: Path) -> None:
    """A run is begun by one commit; each start of a server says which one made it."""
    run = write_run(tmp_path / "run", users=(1,), blocks=1)
    first, second = run.sessions()
    record = second.record
    starts = [one.model_copy(update={"commit": "c" * 40, "clean": False}) for one in record.starts]
    write_json(second.path / "session.json", record.model_copy(update={"starts": starts}))
    sealing.seal(run)
    crate = ROCrate(run.path)
    for session, commit in ((first, run.run.commit or "of no commit"), (second, "c" * 40)):
        action = crate.dereference(f"#execution-{session.record.session}")
        code = [one for one in action["instrument"] if one["name"] == "heavyweight"]
        assert [one["softwareVersion"] for one in code] == [commit]


def test_the_same_run_gives_the_same_text(run: RunFolder) -> None:
    before = (run.path / sealing.CRATE_FILE).read_bytes()
    sealing.seal(run)
    assert (run.path / sealing.CRATE_FILE).read_bytes() == before


def test_it_names_nobody(run: RunFolder) -> None:
    text = (run.path / sealing.CRATE_FILE).read_text()
    assert str(Path.home()) not in text
    assert str(run.path.parent) not in text
