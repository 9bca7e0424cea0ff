"""A shell with everything set that users have set for other programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

NOTEBOOK = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}

PROXIES = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "all_proxy": "socks5://127.0.0.1:9",
    "NO_PROXY": "localhost,fe80::/10",
    "no_proxy": "localhost,fe80::/10",
}

ASCII = {
    "LANG": "C",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
}

COMPUTING = {
    "CUDA_LAUNCH_BLOCKING": "1",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DISABLE_JIT": "1",
    "JAX_ENABLE_X64": "1",
    "JAX_PLATFORMS": "nonsense",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTORCH_CUDA_ALLOC_CONF": "nonsense",
    "SGLANG_ENABLE_TORCH_COMPILE": "1",
    "SGL_DISABLE_TP_MEMORY_INBALANCE_CHECK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TORCH_LOGS": "all",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}

OF_THE_MACHINE = {
    "CUDA_VISIBLE_DEVICES": "GPU-5f3a",
    "LD_LIBRARY_PATH": "/opt/driver/lib64",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "TPU_WORKER_ID": "0",
}


def hostile(folder: Path) -> dict[str, str]:
    """The whole shell; ``folder`` is for the files its variables name.

    Left out is what lets no Python of this project start at all (``PYTHONHOME``,
    ``PYTHONSAFEPATH``): the Makefile takes care of that.
    """
    settings = folder / "matplotlibrc"
    settings.write_bytes(b"font.size: 44\nsvg.fonttype: path\nbackend: TkAgg\n# \xff\n")
    return {
        **{n: v for n, v in os.environ.items() if not n.startswith(("COV_", "PYTEST_"))},
        **NOTEBOOK,
        **PROXIES,
        **ASCII,
        **COMPUTING,
        "BASH_ENV": "/nowhere/rc",
        "CDPATH": "/usr:/",
        "COLUMNS": "20",
        "DVC_STUDIO_OFFLINE": "1",
        "FORCE_COLOR": "1",
        "GIT_DIR": "/nowhere/.git",
        "GIT_INDEX_FILE": "/nowhere/index",
        "GIT_PAGER": "false",
        "GIT_TRACE": "1",
        "GIT_WORK_TREE": "/nowhere",
        "HYDRA_FULL_ERROR": "1",
        "LINES": "2",
        "MATPLOTLIBRC": str(settings),
        "MPLCONFIGDIR": "/proc/nowhere",
        "PYTHONHASHSEED": "7",
        "PYTHONOPTIMIZE": "2",
        "PYTHONSTARTUP": "/nowhere/startup.py",
        "PYTHONWARNINGS": "error",
        "SHELL": "/usr/sbin/nologin",
        "SOURCE_DATE_EPOCH": "12345",
        "SSLKEYLOGFILE": "/proc/nowhere",
        "SSL_CERT_FILE": "/nowhere/certificates.pem",
        "TERM": "dumb",
        "UV_PYTHON": "3.9",
        "UV_SYSTEM_PYTHON": "1",
        "VIRTUAL_ENV": "/nowhere/venv",
        "CONDA_PREFIX": "/nowhere/conda",
    }


def plain() -> dict[str, str]:
    """A shell in which little is set."""
    kept = ("HOME", "PATH", "TMPDIR", "SCOREPARITY_CACHE", "XDG_CACHE_HOME")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    return {**found, "LANG": "C.UTF-8"}


def module(name: str, *arguments: str) -> list[str]:
    """The command line of a stage."""
    return [sys.executable, "-m", name, *arguments]
