"""Which arms of a profile fit a machine and a model; the others are left out, with the reason."""

from __future__ import annotations

from heavyweight.design import QUANTISED, Arm, Model, Profile, Study
from heavyweight.errors import BadInput

TENSOR_PARALLEL = "--tensor-parallel-size"  # of vLLM: ranks, each on a GPU of its own
SPREAD = "OLLAMA_SCHED_SPREAD"  # of Ollama: over all GPUs, even if one would hold the model


def gpus_needed(arm: Arm) -> int:
    """How many GPUs an arm needs to be what its flags and environment say; 1 if it does not care.

    Raises:
        BadInput: the number of ranks is none.
    """
    if TENSOR_PARALLEL in arm.flags:
        given = (*arm.flags, "")[arm.flags.index(TENSOR_PARALLEL) + 1]
        if not given.isdigit() or int(given) < 1:
            raise BadInput(
                f"arm {arm.name}: {TENSOR_PARALLEL} {given}".rstrip(),
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
