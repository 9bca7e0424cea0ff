"""Each rule about the manifests, on manifests broken in its way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from manifests import Document, containers, of_kind, pods, render, settings
from rules import RULES, on_accelerator, pinned

type Rule = Callable[[list[Document]], Iterator[str]]
type Damage = Callable[[list[Document]], Any]


def pod(documents: list[Document]) -> Document:
    return pods(documents)[0]


def container(documents: list[Document]) -> Document:
    return containers(documents)[0]


def job(documents: list[Document]) -> Document:
    return of_kind(documents, "Job")[0]["spec"]


def policy(documents: list[Document]) -> Document:
    return of_kind(documents, "NetworkPolicy")[0]["spec"]


def environ(documents: list[Document], name: str, value: str) -> None:
    variables = [v for v in container(documents)["env"] if v["name"] != name]
    container(documents)["env"] = [*variables, {"name": name, "value": value}]


def volume(documents: list[Document], name: str) -> Document:
    return next(v for v in pod(documents)["volumes"] if v["name"] == name)


def without_kind(documents: list[Document], kind: str) -> None:
    documents[:] = [d for d in documents if d["kind"] != kind]


def security(documents: list[Document]) -> Document:
    return container(documents)["securityContext"]


def with_image(documents: list[Document], image: str) -> None:
    container(documents).update(image=image)


IMAGE = "docker.io/library/python"
A_SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s"},
    "stringData": {"k": "v"},
}

DAMAGES: dict[str, list[Damage]] = {
    "schema": [
        lambda d: job(d).update(backoffLimits=3),
        lambda d: pod(d).update(hostName="a"),
        lambda d: security(d).update(runAsNonroot=True),
        lambda d: job(d).update(backoffLimit="three"),
        lambda d: job(d).pop("template"),
        lambda d: policy(d).update(policyTypes="Ingress"),
    ],
    "unprivileged_pods": [
        lambda d: pod(d).pop("securityContext"),
        lambda d: pod(d)["securityContext"].update(runAsNonRoot=False),
        lambda d: pod(d)["securityContext"].update(runAsUser=0),
        lambda d: pod(d)["securityContext"].pop("runAsGroup"),
        lambda d: pod(d)["securityContext"].pop("fsGroup"),
        lambda d: pod(d)["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    ],
    "unprivileged_containers": [
        lambda d: container(d).pop("securityContext"),
        lambda d: security(d).pop("allowPrivilegeEscalation"),
        lambda d: security(d).update(privileged=True),
        lambda d: security(d).update(runAsUser=0),
        lambda d: security(d)["capabilities"].update(add=["SYS_ADMIN"]),
        lambda d: security(d).pop("capabilities"),
        lambda d: security(d).update(readOnlyRootFilesystem=False),
        lambda d: pod(d).update(initContainers=[{"name": "i", "image": "x"}]),
    ],
    "apart_from_the_host": [
        lambda d: pod(d).update(hostNetwork=True),
        lambda d: pod(d).update(hostPID=True),
        lambda d: pod(d).update(hostIPC=True),
        lambda d: pod(d)["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
        lambda d: container(d).update(ports=[{"containerPort": 1, "hostPort": 1}]),
    ],
    "without_literal_secrets": [
        lambda d: d.append(A_SECRET),
        lambda d: environ(d, "HF_TOKEN", "hf_abc"),
        lambda d: environ(d, "AWS_SECRET_ACCESS_KEY", "abc"),
        lambda d: environ(d, "PASSWORD", ""),
        lambda d: settings(d)[0].update(GIT_TOKEN="abc"),
        lambda d: settings(d)[0].update(REPOSITORY="https://me:abc@host/x.git"),
        lambda d: environ(d, "DVC_REMOTE_URL", "https://me:abc@host/x"),
    ],
    "without_cluster_token": [
        lambda d: pod(d).pop("automountServiceAccountToken"),
        lambda d: of_kind(d, "ServiceAccount")[0].pop("automountServiceAccountToken"),
    ],
    "pinned": [
        functools.partial(with_image, image=image)
        for image in (
            IMAGE,
            f"{IMAGE}:latest",
            f"{IMAGE}:3",
            f"{IMAGE}:3.12",
            f"{IMAGE}:3.12-bookworm",
            f"{IMAGE}:bookworm",
            f"{IMAGE}@sha256:abc",
            "python:3.12.8-bookworm",
            "scoreparity",
        )
    ],
    "bounded": [
        lambda d: container(d).pop("resources"),
        lambda d: container(d)["resources"].pop("requests"),
        lambda d: container(d)["resources"].pop("limits"),
        lambda d: container(d)["resources"]["requests"].update(cpu="1"),
        lambda d: [r.pop("memory") for r in container(d)["resources"].values()],
        lambda d: [r.pop("ephemeral-storage") for r in container(d)["resources"].values()],
        lambda d: volume(d, "tmp").update(emptyDir={}),
    ],
    "closed": [
        lambda d: without_kind(d, "NetworkPolicy"),
        lambda d: policy(d).update(ingress=[{}]),
        lambda d: policy(d).update(policyTypes=["Egress"]),
        lambda d: job(d)["template"]["metadata"].update(labels={"a": "b"}),
    ],
    "complete": [
        lambda d: without_kind(d, "ServiceAccount"),
        lambda d: without_kind(d, "PersistentVolumeClaim"),
        lambda d: without_kind(d, "ConfigMap"),
        lambda d: pod(d).update(serviceAccountName="another"),
        lambda d: pod(d).pop("serviceAccountName"),
        lambda d: of_kind(d, "Job")[0]["metadata"].update(namespace="another"),
    ],
    "resumable": [
        lambda d: pod(d).pop("hostname"),
        lambda d: environ(d, "SCOREPARITY_CACHE", "/tmp/cache"),
        lambda d: environ(d, "WORK", "/workshop"),
        lambda d: [
            volume(d, "work").pop("persistentVolumeClaim"),
            volume(d, "work").update(emptyDir={}),
        ],
    ],
    "writable": [
        lambda d: environ(d, "HOME", "/root"),
        lambda d: pod(d)["volumes"].remove(volume(d, "tmp")),
        lambda d: container(d).update(env=[]),
    ],
    "ending": [
        lambda d: job(d).pop("podFailurePolicy"),
        lambda d: job(d)["podFailurePolicy"]["rules"].pop(0),
        lambda d: job(d)["podFailurePolicy"]["rules"].pop(1),
        lambda d: job(d).pop("backoffLimit"),
        lambda d: job(d).update(backoffLimit=100),
        lambda d: job(d).pop("activeDeadlineSeconds"),
        lambda d: pod(d).update(restartPolicy="OnFailure"),
    ],
    "scripted": [
        lambda d: [c["data"].update({"job.sh": "true\n"}) for c in of_kind(d, "ConfigMap")],
        lambda d: container(d).update(command=["bash", "/tmp/job.sh"]),
        lambda d: container(d).update(command=["bash", "-c", "true"]),
        lambda d: pod(d)["volumes"].remove(volume(d, "script")),
    ],
}


@pytest.mark.parametrize(
    ("rule", "damage"),
    [
        pytest.param(rule, damage, id=f"{rule.__name__}-{number}")
        for rule in RULES
        for number, damage in enumerate(DAMAGES[rule.__name__])
    ],
)
def test_a_broken_manifest_is_seen(rule: Rule, damage: Damage) -> None:
    documents = render("overlays/pytorch-gpu")
    damage(documents)

    assert list(rule(documents))


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: pod(d).pop("tolerations"),
        lambda d: pod(d)["tolerations"][0].update(key="another"),
        lambda d: container(d)["resources"]["limits"].pop("nvidia.com/gpu"),
        lambda d: settings(d)[0].update(BACKEND="jax"),
        lambda d: settings(d)[0].pop("BACKEND"),
    ],
)
def test_a_pod_without_its_accelerator_is_seen(damage: Damage) -> None:
    documents = render("overlays/pytorch-gpu")
    damage(documents)

    assert list(on_accelerator(documents, "pytorch", "nvidia.com/gpu"))


@pytest.mark.parametrize(
    "image",
    ["docker.io/library/python:3.12.8-bookworm", f"registry.example/a/b@sha256:{'0a' * 32}"],
)
def test_a_full_version_and_a_digest_are_pinned(image: str) -> None:
    documents = render("overlays/jax-tpu")
    with_image(documents, image)

    assert list(pinned(documents)) == []
