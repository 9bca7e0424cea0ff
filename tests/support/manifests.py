"""The deployment as kubectl renders it, and its parts."""

from __future__ import annotations

import copy
import functools
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import yaml
from contracts import ROOT
from programs import find_program

type Document = dict[str, Any]

DEPLOY = ROOT / "deploy"
FOLDERS = ("base", "overlays/jax-tpu", "overlays/pytorch-gpu")


def render(folder: str) -> list[Document]:
    """The documents of one folder below ``deploy/``; no cluster is asked."""
    return copy.deepcopy(_rendered(folder))


@functools.cache
def _rendered(folder: str) -> list[Document]:
    kubectl = find_program("kubectl", package="kubernetes-client")
    environ = {"PATH": os.environ["PATH"], "HOME": os.devnull, "KUBECONFIG": os.devnull}
    command = [kubectl, "kustomize", str(DEPLOY / folder)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a document with its dotted path."""
    yield path, value
    parts: Any = value.items() if isinstance(value, dict) else ()
    for name, part in enumerate(value) if isinstance(value, list) else parts:
        yield from walk(part, f"{path}.{name}")


def last(path: str) -> str:
    """The key at the end of a dotted path."""
    return path.rpartition(".")[2]


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """The documents of one kind."""
    return [d for d in documents if d["kind"] == kind]


def pods(documents: list[Document]) -> list[Document]:
    """The specification of every pod, whatever kind of document would start it."""
    return [
        value["spec"]
        for document in documents
        for path, value in walk(document)
        if last(path) == "template" and "containers" in value.get("spec", {})
    ]


def containers(documents: list[Document]) -> list[Document]:
    """Every container of every pod, those that prepare it too."""
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [c for pod in pods(documents) for kind in kinds for c in pod.get(kind, [])]


def settings(documents: list[Document]) -> list[dict[str, str]]:
    """What the Job is told in plain words."""
    return [c["data"] for c in of_kind(documents, "ConfigMap") if "REVISION" in c["data"]]


def mounted(pod: Document, container: Document, kind: str) -> list[str]:
    """Where a container sees the pod's volumes of one kind."""
    names = {v["name"] for v in pod["volumes"] if kind in v}
    return [m["mountPath"] for m in container["volumeMounts"] if m["name"] in names]
