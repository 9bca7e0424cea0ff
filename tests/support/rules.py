"""What every manifest must be. A rule takes the rendered documents and yields its complaints."""

from __future__ import annotations

import re
from collections.abc import Iterator

import kubernetes_validate
from manifests import (
    DEPLOY,
    Document,
    containers,
    last,
    mounted,
    of_kind,
    pods,
    settings,
    walk,
)

OLDEST, NEWEST = "1.31", "1.37"
"""The versions of Kubernetes that are asked; ``podFailurePolicy`` is stable since the first."""

RETRY_IS_VAIN = 64


def schema(documents: list[Document], version: str = OLDEST) -> Iterator[str]:
    """Kubernetes' own schemas, strictly: unknown keys are refused."""
    for document in documents:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{document['kind']} in {version}: {error.message}"


def unprivileged_pods(documents: list[Document]) -> Iterator[str]:
    """A fixed user and group other than root's, and the runtime's system call filter."""
    for pod in pods(documents):
        security = pod.get("securityContext", {})
        ids = ("runAsUser", "runAsGroup", "fsGroup")
        yield from (
            f"{name} is not another id than root's" for name in ids if not security.get(name)
        )
        if security.get("runAsNonRoot") is not True:
            yield "runAsNonRoot is not set"
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield "no seccomp profile"


def unprivileged_containers(documents: list[Document]) -> Iterator[str]:
    """No capability, none to be had, nothing of the image to be written, the pod's user."""
    wanted = {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for container in containers(documents):
        found = container.get("securityContext")
        if found != wanted:
            yield f"a container's securityContext is {found}"


def apart_from_the_host(documents: list[Document]) -> Iterator[str]:
    """Nothing of the node is reached."""
    forbidden = ("hostNetwork", "hostPID", "hostIPC", "hostPath", "hostPort")
    for document in documents:
        yield from (path for path, _ in walk(document) if last(path) in forbidden)


def without_literal_secrets(documents: list[Document]) -> Iterator[str]:
    """Secrets by reference only, and no password in any address."""
    secret = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|(^|_)KEY", re.IGNORECASE)
    yield from (f"Secret {d['metadata']['name']}" for d in of_kind(documents, "Secret"))
    variables = [v for c in containers(documents) for v in c.get("env", [])]
    for variable in variables:
        referred = "secretKeyRef" in variable.get("valueFrom", {})
        if secret.search(variable["name"]) and not referred:
            yield f"{variable['name']} is not from a secret"
    for config in of_kind(documents, "ConfigMap"):
        yield from (f"{key} is in a ConfigMap" for key in config["data"] if secret.search(key))
    for document in documents:
        for path, value in walk(document):
            if isinstance(value, str) and re.search(r"\w://[^/\s]*:[^/\s]*@\w", value):
                yield f"an address with a password at {path}"


def without_cluster_token(documents: list[Document]) -> Iterator[str]:
    """The Job has no word in the cluster."""
    for holder in pods(documents) + of_kind(documents, "ServiceAccount"):
        if holder.get("automountServiceAccountToken") is not False:
            yield "a token of the cluster is mounted"


def pinned(documents: list[Document]) -> Iterator[str]:
    """Every image has a registry, and a digest or the full version."""
    name = r"[\w.-]+\.[\w.-]+(/[\w.-]+)+"
    allowed = rf"{name}(:[\w.-]+)?@sha256:[0-9a-f]{{64}}|{name}:v?\d+\.\d+\.\d+(-[\w.-]+)?"
    for container in containers(documents):
        if not re.fullmatch(allowed, container["image"]):
            yield f"{container['image']} is not pinned"


def bounded(documents: list[Document]) -> Iterator[str]:
    """Requests and limits that are the same, for nobody else's load may move the figures."""
    for container in containers(documents):
        resources = container.get("resources", {})
        for name in {"cpu", "memory", "ephemeral-storage"} - set(resources.get("limits", {})):
            yield f"{name} has no limit"
        if resources.get("requests") != resources.get("limits"):
            yield "requests and limits differ"
    for volume in [v for pod in pods(documents) for v in pod["volumes"] if "emptyDir" in v]:
        if "sizeLimit" not in volume["emptyDir"]:
            yield f"the emptyDir {volume['name']} has no limit"


def closed(documents: list[Document]) -> Iterator[str]:
    """Nothing may connect to a pod."""
    policies = [p["spec"] for p in of_kind(documents, "NetworkPolicy")]
    yield from (f"open by {p}" for p in policies if p.get("ingress"))
    denied = [p["podSelector"]["matchLabels"] for p in policies if "Ingress" in p["policyTypes"]]
    for job in of_kind(documents, "Job"):
        labels = job["spec"]["template"]["metadata"]["labels"]
        if not any(chosen.items() <= labels.items() for chosen in denied):
            yield f"no policy is about {labels}"


def complete(documents: list[Document]) -> Iterator[str]:
    """Everything is in one namespace, and what is referred to by name is there."""
    keys = dict.fromkeys(("configMap", "configMapRef", "configMapKeyRef"), ("ConfigMap", "name"))
    keys["persistentVolumeClaim"] = ("PersistentVolumeClaim", "claimName")
    there = {(d["kind"], d["metadata"]["name"]) for d in documents}
    for pod in pods(documents):
        parts = [(last(path), value) for path, value in walk(pod)]
        named = [(keys[key][0], value[keys[key][1]]) for key, value in parts if key in keys]
        named.append(("ServiceAccount", pod.get("serviceAccountName")))
        yield from (f"{one} is not there" for one in named if one not in there)
    if len(spaces := {d["metadata"].get("namespace") for d in documents}) != 1:
        yield f"not one namespace: {spaces}"


def resumable(documents: list[Document]) -> Iterator[str]:
    """What outlives a pod lies on a claim, and the next pod is taken for the same host."""
    for pod in pods(documents):
        if not pod.get("hostname"):
            yield "each pod has another host name, so no journal counts for the next one"
        for container in pod["containers"]:
            lasting = mounted(pod, container, "persistentVolumeClaim")
            values = {v["name"]: v.get("value") for v in container["env"]}
            for name in ("WORK", "SCOREPARITY_CACHE", "XDG_CACHE_HOME"):
                if not any(f"{values.get(name)}/".startswith(f"{at}/") for at in lasting):
                    yield f"{name} does not lie on a claim"


def writable(documents: list[Document]) -> Iterator[str]:
    """Where programs write by habit, they can: the root filesystem is read-only."""
    for pod in pods(documents):
        for container in pod["containers"]:
            home = [v["value"] for v in container["env"] if v["name"] == "HOME"]
            missing = {"/tmp", *(home or ["HOME"])} - set(mounted(pod, container, "emptyDir"))
            yield from (f"{path} cannot be written" for path in missing)


def ending(documents: list[Document]) -> Iterator[str]:
    """Attempts and hours are bounded; evictions cost no attempt, and what is vain is not tried."""
    for spec in [job["spec"] for job in of_kind(documents, "Job")]:
        rules = spec.get("podFailurePolicy", {}).get("rules", [])
        spared = [r["onPodConditions"] for r in rules if r["action"] == "Ignore"]
        if "DisruptionTarget" not in [one["type"] for some in spared for one in some]:
            yield "an eviction costs an attempt"
        vain = [r["onExitCodes"]["values"] for r in rules if r["action"] == "FailJob"]
        if vain != [[RETRY_IS_VAIN]]:
            yield f"exit code {RETRY_IS_VAIN} is tried again"
        if spec.get("backoffLimit", 6) > 5 or "activeDeadlineSeconds" not in spec:
            yield "attempts or hours are not bounded"
        if spec["template"]["spec"].get("restartPolicy") != "Never":
            yield "podFailurePolicy allows only Never"


def scripted(documents: list[Document]) -> Iterator[str]:
    """The script in the cluster is the repository's, and it is what the pod runs."""
    whole = {"job.sh": (DEPLOY / "job.sh").read_text()}
    names = [c["metadata"]["name"] for c in of_kind(documents, "ConfigMap") if c["data"] == whole]
    for pod in pods(documents):
        volumes = [v for v in pod["volumes"] if v.get("configMap", {}).get("name") in names]
        for container in pod["containers"]:
            at = mounted({"volumes": volumes}, container, "configMap")
            if container.get("command") not in [["bash", f"{path}/job.sh"] for path in at]:
                yield "the pod does not run the repository's script"


def on_accelerator(documents: list[Document], backend: str, resource: str) -> Iterator[str]:
    """One chip is asked for, its nodes' taint is tolerated, and its backend is measured."""
    for pod in pods(documents):
        if resource not in [t["key"] for t in pod.get("tolerations", [])]:
            yield f"the taint {resource} is not tolerated"
    for container in containers(documents):
        if container["resources"]["limits"].get(resource) != "1":
            yield f"not one {resource} is asked for"
    if (measured := [s.get("BACKEND") for s in settings(documents)]) != [backend]:
        yield f"measured is {measured}"


RULES = (
    schema,
    unprivileged_pods,
    unprivileged_containers,
    apart_from_the_host,
    without_literal_secrets,
    without_cluster_token,
    pinned,
    bounded,
    closed,
    complete,
    resumable,
    writable,
    ending,
    scripted,
)
