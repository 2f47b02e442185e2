"""Manifests for scenarios: the smallest that are useful, with what a test is about on top."""
import time

TEAM = "vision"


def manifest(kind, name, spec, **metadata):
    return {"apiVersion": "muster/v1", "kind": kind, "metadata": {"name": name, **metadata},
            "spec": spec}


def pool(name="site", nodes=None, **spec):
    """A pool of this machine. What a node is said to have need not be there: nothing is used up by
    being promised, so small machines can stand for large ones."""
    nodes = nodes or [{"name": "n1", "cpu": 4, "memory": "16Gi", "disk": "40Gi"}]
    return manifest("Pool", name, {"engine": "local", "nodes": nodes, **spec})


def team(name=TEAM, parent="root", **spec):
    return manifest("Team", name, {"parent": parent, **spec})


def job(name, command, team=TEAM, labels=None, **spec):
    """A job of one CPU. A command that is text is a script for the shell."""
    if isinstance(command, str):
        command = ["/bin/sh", "-c", command]
    resources = {"cpu": 1, "memory": "64Mi", "disk": "64Mi", **spec.pop("resources", {})}
    metadata = {"team": team, **({"labels": labels} if labels else {})}
    return manifest("Job", name, {"command": command, "resources": resources, **spec}, **metadata)


def dataset(name, team=TEAM, labels=None, **spec):
    return manifest("Dataset", name, spec, team=team, **({"labels": labels} if labels else {}))


def model(name, team=TEAM, labels=None, **spec):
    return manifest("Model", name, spec, team=team, **({"labels": labels} if labels else {}))


def service(name, model, team=TEAM, labels=None, **spec):
    """A service of small replicas."""
    resources = {"cpu": 0.5, "memory": "128Mi", "disk": "64Mi", **spec.pop("resources", {})}
    return manifest("Service", name, {"model": model, "resources": resources, **spec}, team=team,
                    **({"labels": labels} if labels else {}))


# Runs until it is told to stop, and then ends at once.
WAITING = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"


def moment(offset_s):
    """The time in so many seconds as manifests write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset_s))
