"""Which arms of a profile fit a machine and a model; the others are left out, with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from heavyweight.design import QUANTISED, Arm, Model, Profile, Study
from heavyweight.errors import BadInput

TENSOR_PARALLEL = ("--tensor-parallel-size", "-tp")  # of vLLM: ranks, each on a GPU of its own
QUANTIZATION = ("--quantization", "-q")  # of vLLM
SPREAD = "OLLAMA_SCHED_SPREAD"  # of Ollama: over all GPUs, even if one would hold the model


def flag_value(flags: Sequence[str], *names: str) -> str | None:
    """What flags give a name: the next word, or what stands after ``=``; the last one counts.

    Args:
        flags: of an arm.
        names: all that mean the same; vLLM takes ``_`` for ``-`` in the long ones.

    Returns:
        None: it is not among them. Empty: it is, without a value.
    """
    found = None
    for place, flag in enumerate(flags):
        name, told, value = flag.partition("=")
        if name.startswith("--"):
            name = name.replace("_", "-")
        if name in names:
            found = value if told else (*flags, "")[place + 1]
    return found


def makes_fp8(arm: Arm) -> bool:
    """Whether the server makes the weights FP8 while it loads them."""
    return flag_value(arm.flags, *QUANTIZATION) == "fp8"


def gpus_needed(arm: Arm) -> int:
    """How many GPUs an arm needs to be what its flags and environment say; 1 if it does not care.

    Raises:
        BadInput: the number of ranks is none.
    """
    given = flag_value(arm.flags, *TENSOR_PARALLEL)
    if given is not None:
        if not given.isdigit() or int(given) < 1:
            raise BadInput(
                f"arm {arm.name}: {TENSOR_PARALLEL[0]} {given}".rstrip(),
                "a whole number above 0",
                "correct the flags in study.toml",
            )
        return int(given)
    return 2 if arm.env.get(SPREAD) == "1" else 1


def left_out(study: Study, profile: Profile, model: Model, gpus: int) -> dict[str, str]:
    """Arms of a profile that cannot be measured, and why.

    Args:
        study: study.toml.
        profile: with its arms.
        model: the one that is loaded, the profile's or another.
        gpus: how many there are.
    """
    found = {}
    for arm in (study.arm(name) for name in profile.arms):
        if (needed := gpus_needed(arm)) > max(gpus, 1):
            found[arm.name] = f"needs {needed} GPUs, and there is {gpus or 'none'}"
        elif (repo := QUANTISED.get(arm.artefact)) and model.quantised[arm.artefact] is None:
            found[arm.name] = f"{model.name} has no {repo} in study.toml"
    return found


def fitting(study: Study, profile: Profile, model: Model, gpus: int) -> Profile:
    """The profile with the arms that fit and the contrasts between them.

    Raises:
        BadInput: none fits.
    """
    gone = left_out(study, profile, model, gpus)
    arms = [name for name in profile.arms if name not in gone]
    if not arms:
        told = "; ".join(f"{name} {why}" for name, why in gone.items())
        raise BadInput(f"no arm of {profile.name} fits: {told}", "one that does", "choose others")
    contrasts = {
        name: pair for name, pair in profile.contrasts.items() if not set(pair) & set(gone)
    }
    return profile.model_copy(update={"arms": arms, "contrasts": contrasts})
