"""NVIDIA's management library: which GPUs there are, and what each is doing.

Any of it may be missing: the library, the driver, a quantity that a GPU does not tell, a GPU that
falls off the bus. Each is told once, in words, and the rest goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pynvml

NO_LIBRARY = "no NVIDIA driver is installed (libnvidia-ml.so.1 is not found)"
# Why nothing can be asked, by NVML's code (nvml.h, nvmlReturn_t).
WHY = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_LIBRARY,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is installed and not loaded",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver's library and its kernel module "
    "are of different versions: restart the machine, or load the module again",
    pynvml.NVML_ERROR_NO_PERMISSION: "the NVIDIA driver may not be asked by this user",
    pynvml.NVML_ERROR_GPU_IS_LOST: "a GPU fell off the bus: restart the machine",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "the NVIDIA driver is too old to be asked",
}
NO_GPU = "the NVIDIA driver sees no GPU"
LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
ABSENT = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

Handle = Any
Told = dict[str, float]


def why(error: pynvml.NVMLError) -> str:
    """An error of NVML's in words."""
    code = getattr(error, "value", None)
    return WHY.get(code, f"the NVIDIA driver cannot be asked: {error}")


def describe() -> tuple[list[dict[str, str]], str]:
    """Name, memory in bytes and driver of each GPU; and why there is none, empty where one is."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], why(error)
    try:
        driver = pynvml.nvmlSystemGetDriverVersion()
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            found.append(
                {
                    "name": pynvml.nvmlDeviceGetName(handle),
                    "memory_bytes": str(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                    "driver": driver,
                }
            )
        return found, "" if found else NO_GPU
    except pynvml.NVMLError as error:
        return [], why(error)
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _utilisation(handle: Handle) -> Told:
    rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
    return {"utilisation_percent": rates.gpu, "memory_busy_percent": rates.memory}


def _memory(handle: Handle) -> Told:
    return {"memory_used_bytes": pynvml.nvmlDeviceGetMemoryInfo(handle).used}


def _power(handle: Handle) -> Told:
    return {"power_w": pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3}


def _energy(handle: Handle) -> Told:
    return {"energy_j": pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3}


def _sm_clock(handle: Handle) -> Told:
    return {"sm_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)}


def _memory_clock(handle: Handle) -> Told:
    return {"memory_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM)}


def _temperature(handle: Handle) -> Told:
    try:
        found = pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    except pynvml.NVMLError_FunctionNotFound:  # from CUDA 14 on
        found = pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU)
    return {"temperature_c": found}


def _clock_reasons(handle: Handle) -> Told:
    try:
        bits = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
    except pynvml.NVMLError_FunctionNotFound:  # its name before driver 535
        bits = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return {"clock_reasons": bits}


def _processes(handle: Handle) -> Told:
    # Their pids are those of the host, which a container does not know: only how many is sure.
    return {"processes": len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle))}


Question = tuple[str, Callable[[Handle], Told]]
MEMORY: Question = ("memory", _memory)
QUESTIONS: tuple[Question, ...] = (
    ("utilisation", _utilisation), MEMORY, ("power", _power), ("energy", _energy),
    ("clock", _sm_clock), ("memory clock", _memory_clock), ("temperature", _temperature),
    ("reasons of its clock", _clock_reasons), ("processes", _processes),
)  # fmt: skip


@dataclass
class Device:
    """One GPU, or one MIG instance of it, and what is still asked of it."""

    name: str
    handle: Handle
    questions: list[Question] = field(default_factory=lambda: list(QUESTIONS))
    energy_j: float | None = None  # at the first sample
    lost: bool = False


class Gpus:
    """The GPUs that the server may use, looked at again and again.

    Args:
        visible: ``CUDA_VISIBLE_DEVICES``, which restricts the server as well; None: all. Numbers
            are taken in the order of NVML (by PCI bus), which is CUDA's too where all GPUs are
            of one kind or ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` is set.

    Attributes:
        notes: what cannot be told, in words, each once; it may grow with each sample.
        devices: that are looked at; empty where there are none.
    """

    def __init__(self, visible: str | None = None) -> None:
        self.notes: list[str] = []
        self.devices: list[Device] = []
        self._open = False
        try:
            pynvml.nvmlInit()
            self._open = True
            self.devices = _divided(_chosen(visible), self.notes)
        except pynvml.NVMLError as error:
            self.notes.append(f"no GPU is watched: {why(error)}")
            self.close()
            return
        if not self.devices:
            hidden = "" if visible is None else " that CUDA_VISIBLE_DEVICES names"
            self.notes.append(f"no GPU is watched: {NO_GPU}{hidden}")
            self.close()

    @classmethod
    def of_environment(cls) -> Gpus:
        """The GPUs that ``CUDA_VISIBLE_DEVICES`` leaves to the server."""
        return cls(os.environ.get("CUDA_VISIBLE_DEVICES"))

    def close(self) -> None:
        """Let go of the library."""
        if self._open:
            self._open = False
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def sample(self) -> list[tuple[str, str, float]]:
        """Name of the GPU, quantity and value; what cannot be told is left out."""
        told: list[tuple[str, str, float]] = []
        for device in self.devices:
            if device.lost:
                continue
            for question in list(device.questions):
                told += [(device.name, *pair) for pair in self._ask(device, question).items()]
                if device.lost:
                    told.append((device.name, "lost", 1.0))
                    break
        return told

    def _ask(self, device: Device, question: Question) -> Told:
        """One question; what a GPU does not tell is not asked again."""
        about, ask = question
        try:
            answer = ask(device.handle)
        except pynvml.NVMLError as error:
            code = getattr(error, "value", None)
            if code in LOST:
                device.lost = True
                self._note(f"GPU {device.name} was lost while it was watched: {error}")
            elif code in ABSENT:
                device.questions.remove(question)
                self._note(f"GPU {device.name} does not tell its {about}")
            else:
                self._note(f"GPU {device.name} could not be asked for its {about}: {error}")
            return {}
        if "energy_j" in answer:
            if device.energy_j is None:
                device.energy_j = answer["energy_j"]
            answer["energy_j"] -= device.energy_j
        return answer

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _chosen(visible: str | None) -> list[Device]:
    """The GPUs named by CUDA_VISIBLE_DEVICES; as in CUDA, what is not found ends the list."""
    count = pynvml.nvmlDeviceGetCount()
    if visible is None:
        numbers = [str(number) for number in range(count)]
        return [Device(one, pynvml.nvmlDeviceGetHandleByIndex(int(one))) for one in numbers]
    chosen: list[Device] = []
    for word in (word.strip() for word in visible.split(",")):
        if word.isdigit() and int(word) < count:
            chosen.append(Device(word, pynvml.nvmlDeviceGetHandleByIndex(int(word))))
        elif word.startswith(("GPU-", "MIG-")):
            try:
                handle = pynvml.nvmlDeviceGetHandleByUUID(word)
                if word.startswith("MIG-"):
                    handle = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
                number = str(pynvml.nvmlDeviceGetIndex(handle))
            except pynvml.NVMLError:
                break
            if number not in [one.name for one in chosen]:  # two instances of one GPU
                chosen.append(Device(number, handle))
        else:
            break
    return chosen


def _divided(gpus: list[Device], notes: list[str]) -> list[Device]:
    """The same, and the instances of a GPU that is divided (MIG)."""
    devices: list[Device] = []
    for gpu in gpus:
        devices.append(gpu)
        try:
            divided = pynvml.nvmlDeviceGetMigMode(gpu.handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
        except pynvml.NVMLError:
            divided = False  # a GPU that cannot be
        if not divided:
            continue
        notes.append(
            f"GPU {gpu.name} is divided (MIG): its utilisation is not told, power and clocks are "
            "those of the whole GPU, memory is told of each instance"
        )
        with suppress(pynvml.NVMLError):
            for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu.handle)):
                with suppress(pynvml.NVMLError_NotFound):
                    handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu.handle, number)
                    devices.append(Device(f"{gpu.name}.{number}", handle, [MEMORY]))
    return devices
