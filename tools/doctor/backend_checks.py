"""The checks of one backend in one view: facts in, one finding out.

A new check is a function and its entry in a tuple at the end. It depends on the contract
(environment, device), never on the backend's name.
"""

from __future__ import annotations

from collections.abc import Callable

from stages.backends import registry
from stages.contract import PARAMS
from tools.doctor.facts import Environment, Gpu, Nvidia, Tpu
from tools.doctor.finding import RECORDED, Finding, Subject
from tools.doctor.needs import size

_MOST_NAMED = 3
_REBUILD = "remove its folder in the cache folder's environments/; what needs it next builds it"

# The oldest driver for each major version of CUDA, as NVIDIA documents it.
_OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}


def contracted(subject: Subject) -> Finding | None:
    """Whether the contract declares the backend unavailable, or this view of it."""
    reason = subject.section.unavailable_in(subject.view)
    if reason is None:
        return None
    who = "as this command recorded" if reason.startswith(RECORDED) else "as the contract says"
    whole = subject.section.unavailable is not None
    key = f"backends.{subject.backend}{'' if whole else f'.{subject.view}'}.unavailable"
    fix = f"nothing; to measure it anyway, set {key} to null in {PARAMS}"
    return Finding("unavailable", "ok", f"it is not measured, {who}: {reason}", fix)


def environment(subject: Subject) -> Finding:
    """The Python environment of its server."""
    return judge_environment("environment", subject.environment)


def judge_environment(check: str, found: Environment) -> Finding:
    """Whether an environment can be used or built."""
    known = found.disk_bytes
    if found.checkout_complaint is not None:
        fix = "see docs/accelerators.md on commits"
        return Finding(check, "blocked", found.checkout_complaint, fix)
    installs = f"make repro installs it ({size(known) if known else 'size unknown'})"
    if found.state == "absent":
        return Finding(check, "ok", f"{found.name}: not built yet; {installs}")
    if found.state == "unfinished":
        return Finding(check, "ok", f"{found.name}: its installation was cut short; {installs}")
    if found.python is None:
        return Finding(check, "blocked", f"{found.name}: its Python does not run", _REBUILD)
    return Finding(check, "ok", f"{found.name}: built, Python {found.python}")


def versions(subject: Subject) -> Finding:
    """Installed packages next to the pins."""
    found = subject.environment
    server = _server_version(subject)
    if found.checkout_complaint is not None:
        return Finding("versions", "ok", f"{server}: no packages are pinned for it yet")
    if found.state != "complete":
        return Finding("versions", "ok", f"{server} pinned; {len(found.pinned)} packages in all")
    if not found.differences:
        return Finding("versions", "ok", f"{server}; all {len(found.pinned)} packages as pinned")
    named = [f"{d.package} {d.installed or 'missing'}, not {d.pinned}" for d in found.differences]
    # The server itself and what it computes with come first.
    telling = {p for one in registry.declared_backends().values() for p in one.devices.telling}
    named.sort(key=lambda words: words.split()[0] not in telling)
    if len(named) > _MOST_NAMED:
        named[_MOST_NAMED:] = [f"and {len(named) - _MOST_NAMED} more"]
    return Finding("versions", "blocked", "; ".join(named), _REBUILD)


def _server_version(subject: Subject) -> str:
    package, commit = subject.package, subject.section.launch.commit
    if commit is not None:
        return f"{package} at {commit[:12]}"
    return f"{package} {subject.environment.pinned.get(package, 'not')}"


def accelerator(subject: Subject) -> Finding:
    """The device that the server computes on."""
    device, kind = subject.section.launch.device, _kind(subject)
    if device == "cpu":
        return Finding("accelerator", "ok", "none needed: it runs on the CPU")
    if kind is None:
        fix = "nothing: whether it is here is not known"
        return Finding("accelerator", "warning", f"device {device} is not one that is known", fix)
    return _tpu(subject.facts.tpu) if kind == "tpu" else _nvidia(subject)


def _kind(subject: Subject) -> str | None:
    return _DEVICE_KINDS.get(subject.section.launch.device.partition(":")[0])


_DEVICE_KINDS = {"tpu": "tpu", "cuda": "cuda", "gpu": "cuda"}


def _blocked(found: str, fix: str) -> Finding:
    return Finding("accelerator", "blocked", found, fix)


def _tpu(found: Tpu) -> Finding:
    count = len(found.chips) or len(found.nodes)
    kinds = ", ".join(sorted(set(found.chips)))
    chips = f"{count} TPU {'chip' if count == 1 else 'chips'}" + (f" ({kinds})" if kinds else "")
    if found.nodes and found.closed:
        return _blocked(
            f"{chips} found, but this user may not open {found.closed[0]}",
            "give this user the device's group, or run as one that has it",
        )
    if found.nodes:
        return Finding("accelerator", "ok", f"{chips}: {', '.join(found.nodes[:_MOST_NAMED])}")
    if found.chips:
        return _blocked(
            f"{chips} on the PCI bus, but neither /dev/accel0 nor /dev/vfio/0",
            "load its driver; in a container, pass the devices in (--privileged)",
        )
    if found.variables:
        return _blocked(
            f"{found.variables[0]} announces a TPU, but there is neither a chip on the PCI bus"
            " nor /dev/accel0",
            "use the TPU's own machine; in a container, pass the devices in (--privileged)",
        )
    return _blocked(
        "no TPU found: no chip on the PCI bus, no /dev/accel0", "use a machine with a TPU"
    )


def _nvidia(subject: Subject) -> Finding:
    found = subject.facts.nvidia
    trace = _nvidia_trace(found)
    if trace is None and not found.gpus:
        return _blocked(
            "no NVIDIA GPU found: none on the PCI bus, no /dev/nvidia0",
            "use a machine with an NVIDIA GPU",
        )
    if found.gpus:
        return _too_old(subject, found.gpus) or _gpus(found.gpus)
    if not found.nodes:
        return _blocked(
            f"{trace}, but there is no /dev/nvidia0",
            "load NVIDIA's driver; in a container, pass the GPUs in (--gpus all)",
        )
    if found.closed:
        return _blocked(
            f"{trace}, but this user may not open {found.closed[0]}",
            "give this user the device's group, or run as one that has it",
        )
    return _blocked(
        f"{trace}, but {found.complaint}",
        "install NVIDIA's driver and its nvidia-smi, or reload them after an update (reboot)",
    )


def _nvidia_trace(found: Nvidia) -> str | None:
    if found.nodes:
        return f"{found.nodes[0]} found"
    if found.on_bus:
        return f"{found.on_bus} NVIDIA {'GPU' if found.on_bus == 1 else 'GPUs'} on the PCI bus"
    return None


def _gpus(gpus: tuple[Gpu, ...]) -> Finding:
    named = [f"{gpu.name}, {size(gpu.memory_mib * 2**20)}" for gpu in gpus]
    found = f"{'; '.join(named[:_MOST_NAMED])}; driver {gpus[0].driver}"
    used = [gpu for gpu in gpus if gpu.memory_mib and gpu.used_mib > 0.1 * gpu.memory_mib]
    if used:
        found += f"; {size(used[0].used_mib * 2**20)} of its memory is in use"
        return Finding("accelerator", "warning", found, "end what else uses it")
    return Finding("accelerator", "ok", found)


def _too_old(subject: Subject, gpus: tuple[Gpu, ...]) -> Finding | None:
    """Whether the driver is older than the pinned CUDA libraries require."""
    cuda = _pinned_cuda(subject.environment)
    major = gpus[0].driver.partition(".")[0]
    oldest = _OLDEST_DRIVER.get(cuda) if cuda is not None else None
    if oldest is None or not major.isdecimal() or int(major) >= oldest:
        return None
    return _blocked(
        f"{gpus[0].name} found, but its driver {gpus[0].driver} is too old for the pinned"
        f" CUDA {cuda}, which needs {oldest} or newer",
        f"update NVIDIA's driver to {oldest} or newer",
    )


def _pinned_cuda(found: Environment) -> int | None:
    for package, version in found.pinned.items():
        if package.startswith("nvidia-cuda-runtime"):
            major = version.partition(".")[0]
            return int(major) if major.isdecimal() else None
    return None


def suitability(subject: Subject) -> Finding | None:
    """Whether the environment is for CPUs only while the contract asks for an accelerator."""
    kind, found = _kind(subject), subject.environment
    needed = registry.backend_of(found.name).devices.needed.get(kind or "", ())
    left_out = [p for p in needed if p not in found.pinned and p in found.excluded]
    if kind is None or not left_out:
        return None
    what = f"{found.name} leaves out {left_out[0]}, without which no server reaches a"
    fix = f"choose an environment for it in backends.{subject.backend}.launch.environment"
    return Finding("device", "blocked", f"{what} {_KIND_NAMES[kind]}", fix)


_KIND_NAMES = {"tpu": "TPU", "cuda": "GPU"}


def visibility(subject: Subject) -> Finding | None:
    """Whether a variable hides the device from the server."""
    kind = _kind(subject)
    if kind is None:
        return None
    environ = {**subject.facts.variables, **subject.section.launch.environ}
    visible = environ.get("CUDA_VISIBLE_DEVICES", "0").strip()
    if kind == "cuda" and visible in ("", "-1", "NoDevFiles"):
        return _hiding(subject, "CUDA_VISIBLE_DEVICES", visible or "empty", kind)
    for name in registry.backend_of(subject.environment.name).devices.platform_variables:
        named = {part.strip().lower() for part in environ.get(name, "").split(",")} - {""}
        known = {"tpu"} if kind == "tpu" else {"cuda", "gpu"}
        if named and not named & known:
            return _hiding(subject, name, ",".join(sorted(named)), kind)
    return None


def _hiding(subject: Subject, name: str, value: str, kind: str) -> Finding:
    in_contract = name in subject.section.launch.environ
    where = (
        f"backends.{subject.backend}.launch.environ" if in_contract else "your shell's environment"
    )
    found = f"{name} is {value}, which hides every {_KIND_NAMES[kind]} from the server"
    return Finding("visibility", "blocked", found, f"take {name} out of {where}")


def server(subject: Subject) -> Finding:
    """Whether a server started elsewhere answers. The measurement checks its identity."""
    url = subject.base_url or ""
    complaint = subject.facts.servers.get(url)
    if complaint is None:
        return Finding("server", "ok", f"started elsewhere, accepts connections at {url}")
    key = f"backends.{subject.backend}.{subject.view}.base_url"
    fix = f"start it, open the way to it, or set {key} to null to launch it here"
    return Finding("server", "blocked", f"no server answers at {url}: {complaint}", fix)


type BackendCheck = Callable[[Subject], Finding | None]

# The first blocking check is the reason, so what the machine lacks precedes what can be fixed.
LAUNCHED_CHECKS: tuple[BackendCheck, ...] = (
    contracted,
    accelerator,
    suitability,
    visibility,
    environment,
    versions,
)

ELSEWHERE_CHECKS: tuple[BackendCheck, ...] = (contracted, server)
"""A server started elsewhere needs none of this machine's devices and environments."""


def checks_of(subject: Subject) -> tuple[BackendCheck, ...]:
    """The checks of one backend in one view."""
    return LAUNCHED_CHECKS if subject.base_url is None else ELSEWHERE_CHECKS
