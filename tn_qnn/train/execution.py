"""Who takes the steps of a run: the host, one at a time, or a device, many at once."""

from tn_qnn.train.device_step import DeviceStepper
from tn_qnn.train.recipe import Recipe
from tn_qnn.train.stepping import Device, HostStepper, Stepper


def make_stepper(recipe: Recipe) -> Stepper:
    """Return a stepper: on the model's device if it has one and all of a step can be captured."""
    device: Device | None = getattr(recipe.model, "device", None)
    if device is None:
        backend = getattr(recipe.model, "backend", None)
        return HostStepper(recipe, getattr(backend, "name", "cpu"))
    where = f"cuda: {device.facts.name}"
    if reason := why_on_host(recipe):
        return HostStepper(recipe, f"{where}, step by step on the host, because {reason}")
    return DeviceStepper(recipe, device, f"{where}, one graph a step")


def why_on_host(recipe: Recipe) -> str:
    """Say what keeps a step from being captured as a CUDA graph; empty where nothing does."""
    for name in ("loss", "estimator", "update"):
        part = getattr(recipe, name)
        if not getattr(part, "capturable", False):
            kind = getattr(part, "name", type(part).__name__)
            return f"the {name} {kind} is not marked as capturable"
    if recipe.augment is not None:
        return "training samples are changed on the host in every step"
    if recipe.regularisation is not None:
        return "the regularisation is added on the host"
    if recipe.retraction is not None:
        return "the retraction orthogonalises on the host"
    can = getattr(recipe.model, "capturable", False)
    return "" if can is True else str(can or "the model is not marked as capturable")
