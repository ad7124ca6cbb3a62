"""The machine is described by its hardware and never by its name."""

import getpass
import socket
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from heavyweight import machine
from heavyweight.telemetry import nvml

GPU = {"name": "NVIDIA A40", "memory_bytes": "48305799168", "driver": "580.1"}


def test_this_machine_is_described_without_names():
    described = machine.describe()
    assert described.cpus >= 1
    assert described.memory_bytes > 2**28
    assert described.cpu_model
    assert described.packages["numpy"] != "absent"
    assert described.machine_id == machine.describe().machine_id
    text = described.model_dump_json()
    assert str(Path.home()) not in text
    private = {socket.gethostname(), getpass.getuser()} - {"root", "localhost", "vm"}
    assert not [name for name in private if len(name) > 3 and name in text]


@given(st.integers(8, 512), st.integers(-(2**27), 2**27))
def test_a_reboot_does_not_make_another_machine(gib, reserved):
    size = gib * 2**30
    assert machine.machine_id("cpu", ["avx2"], 8, size, []) == machine.machine_id(
        "cpu", ["avx2"], 8, size + reserved, []
    )


def test_hardware_tells_machines_apart_and_a_new_driver_does_not():
    size = 64 * 2**30
    ids = {
        machine.machine_id("a", ["avx2"], 8, size, []),
        machine.machine_id("b", ["avx2"], 8, size, []),
        machine.machine_id("a", ["avx2", "avx512_bf16"], 8, size, []),
        machine.machine_id("a", ["avx2"], 16, size, []),
        machine.machine_id("a", ["avx2"], 8, 2 * size, []),
        machine.machine_id("a", ["avx2"], 8, size, [GPU]),
        machine.machine_id("a", ["avx2"], 8, size, [GPU, GPU]),
    }
    assert len(ids) == 7
    updated = GPU | {"driver": "590.2"}
    assert machine.machine_id("a", ["avx2"], 8, size, [updated]) == machine.machine_id(
        "a", ["avx2"], 8, size, [GPU]
    )


def test_a_containers_memory_limit_counts(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "MEMORY_LIMIT", limit)
    without = machine.memory_bytes()
    limit.write_text("max\n")
    assert machine.memory_bytes() == without
    limit.write_text("1073741824\n")
    assert machine.memory_bytes() == 2**30


def test_a_processor_of_another_kind_is_read(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "CPUINFO", file)
    file.write_text("processor : 0\nmodel name\t: Brand X\nflags\t\t: fpu avx2 hypervisor\n")
    assert machine.cpu_info() == ("Brand X", ["fpu", "avx2", "hypervisor"])
    file.write_text("processor : 0\nFeatures\t: fp asimd sve\n")
    model, flags = machine.cpu_info()
    assert model
    assert flags == ["fp", "asimd", "sve"]


def test_what_cannot_be_read_is_null(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "GOVERNOR", tmp_path / "none")
    assert machine.governor() is None
    (tmp_path / "some").write_text("performance\n")
    monkeypatch.setattr(machine, "GOVERNOR", tmp_path / "some")
    assert machine.governor() == "performance"


def test_no_driver_means_no_gpus(monkeypatch):
    def absent():
        raise nvml.pynvml.NVMLError(nvml.pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(nvml.pynvml, "nvmlInit", absent)
    assert machine.gpus() == []


def test_gpus_are_named_with_memory_and_driver(monkeypatch):
    class Memory:
        total = 48305799168

    nvml_library = nvml.pynvml
    monkeypatch.setattr(nvml_library, "nvmlInit", lambda: None)
    monkeypatch.setattr(nvml_library, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(nvml_library, "nvmlSystemGetDriverVersion", lambda: "580.1")
    monkeypatch.setattr(nvml_library, "nvmlDeviceGetCount", lambda: 1)
    monkeypatch.setattr(nvml_library, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(nvml_library, "nvmlDeviceGetName", lambda handle: "NVIDIA A40")
    monkeypatch.setattr(nvml_library, "nvmlDeviceGetMemoryInfo", lambda handle: Memory)
    assert machine.gpus() == [GPU]


def test_the_packages_are_those_of_the_lock(tmp_path):
    installed = machine.installed_packages()
    lines = [f"{name}=={installed[name]} \\\n    --hash=sha256:00" for name in ("numpy", "pandas")]
    lines.append('no-such-package==1.0 ; sys_platform == "nowhere"')
    lock = tmp_path / "requirements.lock"
    lock.write_text("\n".join(lines) + "\n")
    assert machine.as_locked(lock, installed) is True
    assert machine.as_locked(lock, installed | {"numpy": "0.1"}) is False
    assert machine.as_locked(lock, {"numpy": installed["numpy"]}) is False
    assert machine.as_locked(tmp_path / "none", installed) is None
    assert machine.describe().packages_sha256 == machine.describe().packages_sha256 != ""
