"""What NVML says of the driver and its GPUs; nothing is changed there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

from heavyweight.errors import NotInstalled

Why = tuple[str, str]

# NVML's errors that a user can do something about: what was found, and the remedy.
REFUSALS: dict[int, Why] = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        "no NVIDIA driver: its library libnvidia-ml.so.1 is not here",
        "install the driver; in a container, start it with --gpus all",
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        "the NVIDIA driver is installed and its kernel module is not loaded",
        "sudo modprobe nvidia, or restart the machine",
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the driver's library and its kernel module are of different versions",
        "restart the machine: the driver was updated under it",
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: (
        "this user may not ask the NVIDIA driver",
        "a user who may open /dev/nvidia*",
    ),
    pynvml.NVML_ERROR_GPU_IS_LOST: (
        "a GPU is lost: it has fallen off the bus",
        "restart the machine, or take another",
    ),
}


@dataclass(frozen=True)
class Driver:
    """The driver.

    Attributes:
        version: as NVIDIA counts, for instance 580.65.06.
        cuda: newest CUDA that it carries, 1000 x major + 10 x minor.
    """

    version: str
    cuda: int

    @property
    def cuda_text(self) -> str:
        """CUDA's version as it is written."""
        return f"{self.cuda // 1000}.{self.cuda % 1000 // 10}"


@dataclass(frozen=True)
class Card:
    """One GPU. What the driver does not tell of it is None.

    Attributes:
        name: of the product.
        memory_bytes: all of it.
        used_bytes: that is not free now, the driver's own part with it.
        capability: compute capability, (9, 0) for an H100.
        persistence: whether the driver stays loaded while nobody uses the GPU.
        mig: whether it is cut into instances.
        ecc: whether its memory corrects errors.
        power_w: limit in force, and the one it is made for.
        processes: memory in bytes of each program that computes on it; None for one not told.
    """

    name: str
    memory_bytes: int
    used_bytes: int
    capability: tuple[int, int] | None
    persistence: bool | None
    mig: bool | None
    ecc: bool | None
    power_w: tuple[float, float] | None
    processes: tuple[int | None, ...] | None


def look() -> tuple[Driver, list[Card]]:
    """The driver and all GPUs that it shows to this process.

    Raises:
        NotInstalled: there is no driver, no GPU, or they do not work.
    """
    try:
        pynvml.nvmlInit()
        try:
            driver = Driver(
                str(pynvml.nvmlSystemGetDriverVersion()),
                int(pynvml.nvmlSystemGetCudaDriverVersion_v2()),
            )
            cards = [
                _card(pynvml.nvmlDeviceGetHandleByIndex(place))
                for place in range(pynvml.nvmlDeviceGetCount())
            ]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        found, remedy = REFUSALS.get(
            error.value, (f"the NVIDIA driver answers: {error}", "nvidia-smi says more")
        )
        raise NotInstalled(found, "an NVIDIA GPU with a working driver", remedy) from error
    if not cards:
        raise NotInstalled(
            "the NVIDIA driver shows no GPU",
            "one",
            "in a container, start it with --gpus all",
        )
    return driver, cards


def _card(handle: Any) -> Card:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    persistence = _told(pynvml.nvmlDeviceGetPersistenceMode, handle)
    mig, ecc = (
        _told(pynvml.nvmlDeviceGetMigMode, handle),
        _told(pynvml.nvmlDeviceGetEccMode, handle),
    )
    limit = _told(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    made_for = _told(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)
    processes = _told(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
    return Card(
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(memory.total),
        used_bytes=int(memory.used),
        capability=_told(pynvml.nvmlDeviceGetCudaComputeCapability, handle),
        persistence=None if persistence is None else bool(persistence),
        mig=None if mig is None else bool(mig[0]),
        ecc=None if ecc is None else bool(ecc[0]),
        power_w=None if limit is None or made_for is None else (limit / 1e3, made_for / 1e3),
        processes=None if processes is None else tuple(one.usedGpuMemory for one in processes),
    )


def _told(ask: Callable[[Any], Any], handle: Any) -> Any:
    """An answer of NVML's, or None where this GPU or driver has none."""
    try:
        return ask(handle)
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
            raise
        return None
