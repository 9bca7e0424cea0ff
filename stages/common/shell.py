"""Decides which variables of a user's shell reach the programs that are started here.

A shell holds variables that its user set for other programs. A measurement must depend on the
contract and the machine only, so every variable has one kind (``kind_of``):

- ``computes``: a library or a server reads it to choose what or how fast it computes. It reaches
  no server under test and no oracle; ``backends.BACKEND.launch.environ`` is the place to set it.
  A matrix records the names of those that were left out.
- ``machine``: the machine, its driver or its scheduler describes devices and resources. It is
  passed on, unless the contract sets it, and a matrix records its value.
- ``python``: it configures another Python than the server's. It is left out.
- ``secret``: the key of a server that was started elsewhere. It is left out.
- ``other``: everything else (``PATH``, ``HOME``, proxies, certificates, ``HF_HOME``). It is
  passed on and not recorded, because it may hold secrets.

Git and uv have variables that would lead them to another repository, another Python or other
packages. Only those that say how to reach a server are passed on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

type Kind = Literal["computes", "machine", "python", "secret", "other"]

API_KEY_VARIABLE = "SCOREPARITY_API_KEY"
"""The prefix of all variables that hold the key of a server started elsewhere."""

_PREFIXES: dict[Kind, tuple[str, ...]] = {
    "computes": (
        *("JAX_", "XLA_", "LIBTPU_INIT_ARGS", "PJRT_", "ENABLE_PJRT_", "FLAX_"),
        *(
            "TF_CPP_",
            "TF_CUDNN_",
            "TF_DETERMINISTIC_",
            "TF_ENABLE_",
            "TF_GPU_",
            "TF_NUM_",
            "TF_XLA_",
        ),
        *("TORCH", "PYTORCH_", "ATEN_", "TRITON_", "FLASHINFER_", "FLASH_ATTENTION_"),
        *("CUDA_", "CUDNN_", "CUBLAS_", "CUBLASLT_", "NVIDIA_TF32_OVERRIDE"),
        *("OMP_", "KMP_", "GOMP_", "MKL_", "DNNL_", "ONEDNN_", "OPENBLAS_", "GOTO_", "BLIS_"),
        *("NVPL_", "ARMPL_", "VECLIB_", "NUMEXPR_", "NUMBA_", "NPY_", "TBB_", "RAYON_"),
        *("TOKENIZERS_", "USE_HUB_KERNELS", "DISABLE_KERNEL_MAPPING"),
        *("USE_TORCH", "USE_TF", "USE_FLAX", "USE_JAX"),
        *("SGLANG_", "SGL_", "VLLM_", "MALLOC_", "GLIBC_TUNABLES"),
    ),
    "machine": (
        *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "CUDA_PATH", "CUDA_MPS_"),
        "CUDA_VERSION",
        *("NVIDIA_", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
        *("TPU_", "CLOUD_TPU_", "MEGASCALE_", "NCCL_", "GLOO_", "UCX_"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD"),
    ),
    "python": ("PYTHON", "VIRTUAL_ENV", "CONDA_", "MPLBACKEND", "MATPLOTLIBRC"),
    "secret": (API_KEY_VARIABLE,),
}

_KINDS: dict[str, Kind] = {
    prefix: kind for kind, prefixes in _PREFIXES.items() for prefix in prefixes
}


def kind_of(name: str) -> Kind:
    """The kind of a variable: that of the longest matching prefix."""
    prefixes = [prefix for prefix in _KINDS if name.startswith(prefix)]
    return _KINDS[max(prefixes, key=len)] if prefixes else "other"


def clean_environ(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of ``environ`` that a server under test or the oracle gets."""
    return {name: value for name, value in environ.items() if kind_of(name) in ("machine", "other")}


@dataclass(frozen=True, slots=True)
class ServerVariables:
    """The variables of a shell that could matter to a server launched from it.

    Attributes:
        passed: variables of the kind ``machine``, with their values.
        left_out: names of variables of the kind ``computes``.
    """

    passed: dict[str, str]
    left_out: list[str]


def server_variables(
    given: Mapping[str, str], environ: Mapping[str, str] = os.environ
) -> ServerVariables:
    """Which variables of ``environ`` reach a server, and which do not.

    Args:
        given: the contract's own variables, which override the shell's.
        environ: of the shell.
    """
    kinds = {name: kind_of(name) for name in sorted(environ) if name not in given}
    return ServerVariables(
        passed={name: environ[name] for name, kind in kinds.items() if kind == "machine"},
        left_out=[name for name, kind in kinds.items() if kind == "computes"],
    )


# Variables that choose git's repository, index and objects, or the form of its output. Those that
# say how to reach a server (`GIT_SSH_COMMAND`, `GIT_ASKPASS`, `GIT_SSL_*`, ...) stay.
_GIT_ELSEWHERE = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_INDEX_VERSION", "GIT_COMMON_DIR"),
    *("GIT_NAMESPACE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
    *("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_CONFIG"),
    *("GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_REPLACE_REF_BASE", "GIT_NO_REPLACE_OBJECTS"),
    *("GIT_ATTR_SOURCE", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS"),
    *("GIT_ICASE_PATHSPECS", "GIT_DEFAULT_HASH", "GIT_DEFAULT_REF_FORMAT", "GIT_TEMPLATE_DIR"),
    *("GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_PAGER", "GIT_QUARANTINE_PATH"),
)


def in_own_repository(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """``environ`` without the variables that lead git to another repository.

    A git hook sets ``GIT_DIR`` and ``GIT_INDEX_FILE``, which win over any folder.
    """
    return {
        name: value
        for name, value in environ.items()
        if name not in _GIT_ELSEWHERE and not name.startswith("GIT_TRACE")
    }


def git_environ(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which git works on the given folder, in English and without prompts."""
    english = {"LC_ALL": "C", "LANGUAGE": ""}
    return in_own_repository(environ) | english | {"GIT_TERMINAL_PROMPT": "0"}


# Where and how uv downloads, and where it caches downloads.
_UV_KEPT = (
    *("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX"),
    *("UV_KEYRING_PROVIDER", "UV_CREDENTIALS_DIR", "UV_CONFIG_FILE", "UV_NO_CONFIG"),
    *("UV_CACHE_DIR", "UV_NO_CACHE", "UV_LINK_MODE", "UV_OFFLINE", "UV_LOCK_TIMEOUT"),
    *("UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_INSECURE_HOST", "UV_HTTP_", "UV_REQUEST_TIMEOUT"),
    *("UV_CONCURRENT_", "UV_NO_PROGRESS", "UV_STACK_SIZE"),
    *("UV_PYTHON_INSTALL_", "UV_PYTHON_DOWNLOADS", "UV_PYPY_INSTALL_MIRROR"),
)


def uv_environ(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which uv installs pinned packages into the given Python."""
    return {
        name: value
        for name, value in environ.items()
        if kind_of(name) != "python" and (not name.startswith("UV_") or name.startswith(_UV_KEPT))
    }


def keep_from_matplotlib() -> None:
    """Keep the shell's and the user's settings from matplotlib, here and in child processes.

    A notebook's ``MPLBACKEND`` names a module that only the notebook's Python has. Figures need no
    backend, and ``report/figures`` holds all their settings.
    """
    os.environ.pop("MPLBACKEND", None)
    os.environ["MATPLOTLIBRC"] = os.devnull
