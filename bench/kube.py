#!/usr/bin/python3
"""Pods through muster onto a real kube-apiserver, beside the same pods made by kubectl and by curl over connections
that are kept; what a job costs in requests and in time; and the server with very many pods.

Usage: bench/kube.py [rate] [calls] [delay] [many[=PODS]]

many=PODS tries the last one with fewer pods than 10,000.

scripts/kube-build has to have built the components. The nodes are objects that no kubelet stands behind: what one
would do (a pod's status, the end of a deletion) is done here, outside of what is measured; but `calls` has a real
node besides, for what is asked of logs. MUSTER_BIN names the
program (build-release/muster), PODS how many pods a round makes (1000), ROUNDS how many rounds there are (3), ONES how
often a delay is taken (30)."""
import collections
import concurrent.futures
import http.client
import json
import os
import queue
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("MUSTER_BIN", os.path.join(ROOT, "build-release", "muster"))
sys.path[:0] = [os.path.join(ROOT, "tests", "kube"), os.path.join(ROOT, "tests")]

import manifests  # noqa: E402
from audit import Audit, resource  # noqa: E402
from cluster import MANIFESTS, Cluster, wait_until  # noqa: E402
from measure import memory_mib, processor_s  # noqa: E402
from muster import Muster  # noqa: E402
from node import IMAGE, RealNode, missing  # noqa: E402

PODS = "/api/v1/namespaces/muster/pods"
COUNT = int(os.environ.get("PODS", "1000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
ONES = int(os.environ.get("ONES", "30"))
MANY = 10000
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kubelet")
ENGINE = "system:serviceaccount:muster:muster-engine"
NODES = 150  # of 8 CPUs: 80 of these pods, and a node takes 110
CONNECTIONS = 16  # as the engine has at most
KUBELETS = 6
LONG_S = 1800
SETTLE_S = 4


class Watch:
    """The pods of the namespace as they come and go, with the moments at which that was heard."""

    def __init__(self, site):
        self.site, self.added, self.there, self.dying = site, [], {}, queue.Queue()
        self.version = site.call("GET", PODS + "?limit=1")["metadata"]["resourceVersion"]
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        """The API server closes a watch whose reader does not keep up."""
        while True:
            connection = None
            try:
                connection = self.site.connect(timeout_s=LONG_S)
                connection.request("GET", f"{PODS}?watch=1&timeoutSeconds={LONG_S}&resourceVersion={self.version}")
                for line in connection.getresponse():
                    self._take(json.loads(line))
            except (http.client.HTTPException, OSError, ValueError):
                pass
            finally:
                if connection:
                    connection.close()
            time.sleep(0.1)

    def _take(self, event):
        about = event["object"]["metadata"]
        self.version = about["resourceVersion"]
        if event["type"] == "ADDED":
            self.added.append(time.monotonic())
            self.there[about["name"]] = event["object"]
        elif event["type"] == "DELETED":
            self.there.pop(about["name"], None)
        elif about.get("deletionTimestamp"):
            self.dying.put(about["name"])

    def wait_added(self, count):
        wait_until(lambda: len(self.added) >= count, f"{count} pods", LONG_S)
        return self.added[count - 1]

    def forget(self):
        self.added.clear()


class Kubelets:
    """Ends pods that are deleted, and says that pods run, over connections that are kept."""

    def __init__(self, site, watch):
        self.site, self.watch, self.local = site, watch, threading.local()
        for _ in range(KUBELETS):
            threading.Thread(target=self._finish, daemon=True).start()

    def ask(self, method, path, body=None, kind="application/json"):
        if not hasattr(self.local, "connection"):
            self.local.connection = self.site.connect(timeout_s=LONG_S)
        for _ in range(2):  # a connection that was idle may have been closed
            try:
                self.local.connection.request(method, path, body and json.dumps(body), {"Content-Type": kind})
                answer = self.local.connection.getresponse()
                answer.read()
                return answer.status
            except (http.client.HTTPException, OSError):
                self.local.connection.close()
        return 0

    def _finish(self):
        while True:
            self.ask("DELETE", f"{PODS}/{self.watch.dying.get()}?gracePeriodSeconds=0")

    def run(self, names):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status = {"status": {"phase": "Running", "podIP": "127.0.0.1", "startTime": now, "containerStatuses": [{
            "name": "job", "ready": True, "restartCount": 0, "image": "x", "imageID": "x",
            "state": {"running": {"startedAt": now}}}]}}
        with concurrent.futures.ThreadPoolExecutor(KUBELETS) as pool:
            list(pool.map(lambda name: self.ask("PATCH", f"{PODS}/{name}/status", status,
                                                "application/strategic-merge-patch+json"), names))


def nodes(muster):
    """The names of those that it knows."""
    return {one["name"] for one in muster.call("GET", "/v1/nodes?limit=1000")["items"]}


class World:
    def __init__(self, folder, components, audit):
        self.folder = folder
        self.site = Cluster(os.path.join(folder, "cluster"), components)
        self.site.node_grace_s = 100000  # nobody speaks for them
        if audit:
            self.audit = Audit(self.site, [ENGINE])
        self.site.start()
        self.site.apply_file(os.path.join(MANIFESTS, "engine.yaml"), "muster")
        wait_until(lambda: self.site.find("/api/v1/namespaces/muster/serviceaccounts/default"), "the namespace")
        for number in range(NODES):
            self.site.make_node(f"node-{number:03d}", cpu="8", memory="64Gi")
        self.watch = Watch(self.site)
        self.kubelets = Kubelets(self.site, self.watch)
        token = os.path.join(folder, "token")
        with open(token, "w", encoding="ascii") as text:
            text.write(self.site.token_for("muster", "muster-engine", 7200))
        self.kubeconfig = self.site.write_kubeconfig("engine", {"tokenFile": token}, namespace="muster")
        self.muster = Muster(os.path.join(folder, "data"))
        self.muster.start()
        self.muster.apply(manifests.team(), manifests.manifest("Pool", "cluster", {
            "engine": "kubernetes", "kubernetes": {"kubeconfig": self.kubeconfig, "namespace": "muster",
                                                   "place": "muster", "image": IMAGE}}))
        self.muster.wait_for(lambda: len(nodes(self.muster)) >= NODES, "the nodes", 120)

    def pids(self):
        """Of the server and of the API server."""
        return self.muster.process.pid, self.site.processes["kube-apiserver"].pid

    def close(self):
        self.muster.teardown()
        self.site.stop()

    def submit(self, name, count):
        """The names of the job, or of the elements of an array."""
        spec = {"array": {"count": count}} if count > 1 else {}
        self.muster.submit(manifests.job(
            name, "sleep 600", placement={"pool": "cluster"}, grace="1s",
            resources={"cpu": 0.1, "memory": "16Mi", "disk": "0"}, **spec))
        return [f"{name}[{index}]" for index in range(count)] if count > 1 else [name]

    def clear(self):
        wait_until(lambda: not self.watch.there, "the pods to go", LONG_S)
        wait_until(lambda: not self.site.items("/api/v1/namespaces/muster/services?limit=1"), "the services to go",
                   LONG_S)
        self.watch.forget()

    def cancel(self, names):
        for first in range(0, len(names), 500):
            self.muster.cli("cancel", "--team", manifests.TEAM, *names[first:first + 500], timeout_s=LONG_S)
        self.clear()


def alike(pods):
    """What is to be made again of pods that muster made, without their owners."""
    made = []
    for number, pod in enumerate(pods):
        about = pod["metadata"]
        made.append({"apiVersion": "v1", "kind": "Pod", "spec": pod["spec"], "metadata": {
            "name": f"alike-{number}", "namespace": "muster", "labels": {
                **about["labels"], "muster.dev/owner": "somebody"}}})
    return made


def through_muster(world, name, count):
    began = time.monotonic()
    names = world.submit(name, count)
    took = world.watch.wait_added(count) - began
    return names, count / took


def delete_all(world):
    world.site.call("DELETE", PODS + "?gracePeriodSeconds=0")
    world.clear()


def with_kubectl(world, pods):
    path = os.path.join(world.folder, "pods.json")
    with open(path, "w", encoding="ascii") as text:
        json.dump({"apiVersion": "v1", "kind": "List", "items": pods}, text)
    began = time.monotonic()
    subprocess.run(["kubectl", "--kubeconfig", world.site.kubeconfig_of("admin"), "create", "-f", path,
                    "--validate=false"], check=True, stdout=subprocess.DEVNULL)
    took = world.watch.wait_added(len(pods)) - began
    delete_all(world)
    return len(pods) / took


def with_curl(world, pods):
    path = os.path.join(world.folder, "curl")
    pki = world.site.pki
    common = (f'url = "{world.site.url}{PODS}"\nrequest = "POST"\nheader = "Content-Type: application/json"\n'
              f'cacert = "{pki("ca.crt")}"\ncert = "{pki("admin.crt")}"\nkey = "{pki("admin.key")}"\n'
              'output = "/dev/null"\nhttp1.1\n')
    with open(path, "w", encoding="ascii") as text:
        for number, pod in enumerate(pods):
            if number:
                text.write("next\n")
            with open(f"{path}-{number}", "w", encoding="ascii") as one:
                json.dump(pod, one)
            text.write(f'{common}data-binary = "@{path}-{number}"\n')
    began = time.monotonic()
    subprocess.run(["curl", "-s", "--parallel", "--parallel-max", str(CONNECTIONS), "-K", path], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took = world.watch.wait_added(len(pods)) - began
    delete_all(world)
    return len(pods) / took


def rate(world):
    figures = collections.defaultdict(list)
    for number in range(ROUNDS):
        names, speed = through_muster(world, f"rate-{number}", COUNT)
        figures["muster"].append(speed)
        pods = alike(world.watch.there.values())
        world.cancel(names)
        figures["kubectl create"].append(with_kubectl(world, pods))
        figures[f"curl, {CONNECTIONS} connections"].append(with_curl(world, pods))
    for name, speeds in figures.items():
        print(f"rate: {name}: {statistics.median(speeds):.0f} pods/s "
              f"({min(speeds):.0f} to {max(speeds):.0f}, {COUNT} pods)", flush=True)


def delay(world):
    """From a request for one job, or for its pod, until a watcher hears of the pod."""
    times = collections.defaultdict(list)
    connection = world.site.connect()
    for number in range(ONES):
        began = time.monotonic()
        names = world.submit(f"one-{number}", 1)
        times["muster"].append(world.watch.wait_added(1) - began)
        pod, = alike(world.watch.there.values())
        world.cancel(names)
        began = time.monotonic()
        connection.request("POST", PODS, json.dumps(pod), {"Content-Type": "application/json"})
        connection.getresponse().read()
        times["POST"].append(world.watch.wait_added(1) - began)
        delete_all(world)
    for name, values in times.items():
        print(f"delay: {name}: median {statistics.median(values) * 1000:.1f} ms, most "
              f"{max(values) * 1000:.1f} ms", flush=True)


def count_calls(world, what, one):
    """Prints what the engine asks for in ten jobs, one after the other; lists and watches apart, which are of no job."""
    def count():
        return collections.Counter(f"{event['verb']} {resource(event)}" for event in world.audit.events()
                                   if event["verb"] not in ("list", "watch"))
    one(0)  # the policies of its team are seen to once
    before = count()
    for number in range(1, 11):
        one(number)
    for name, total in sorted((count() - before).items()):
        print(f"calls: {what}: {name}: {total / 10:.1f} a job", flush=True)


def accepted(answer):
    return answer if answer.status < 300 else None


def calls(world):
    def without_a_kubelet(number):
        names = world.submit(f"call-{number}", 1)
        world.watch.wait_added(1)
        pod, = world.watch.there
        world.kubelets.run([pod])
        world.site.end_pod("muster", pod)
        world.muster.wait_ended(f"{manifests.TEAM}:{names[0]}")
        world.clear()

    def with_a_kubelet(number):
        job = manifests.job(
            f"real-{number}", "echo one; sleep 3; echo two", resources={"cpu": 0.1, "disk": "0"},
            placement={"pool": "cluster", "require": [{"key": "kubernetes.io/hostname", "values": ["real"]}]})
        # It is refused while the node is not known to be well.
        answer = world.muster.wait_for(lambda: accepted(world.muster.api("POST", "/v1/jobs", job)), "the real node", 60)
        world.muster.wait_ended(answer.json["id"])
        world.clear()
    count_calls(world, "without a kubelet", without_a_kubelet)
    if missing():
        print(f"calls: with a kubelet: not measured: {missing()}")
        return
    node = RealNode(world.site)
    try:
        node.start()
        count_calls(world, "with a kubelet", with_a_kubelet)
    finally:
        node.stop()


class Phase:
    """What a part of `many` took, of the server and of the API server, and what both hold at its end."""

    def __init__(self, world, what):
        self.world, self.what = world, what

    def _used(self):
        return [processor_s(pid) for pid in self.world.pids()]

    def __enter__(self):
        self.began, self.used = time.monotonic(), self._used()

    def __exit__(self, failed, *_):
        if failed:
            return
        server, cluster = (now - before for now, before in zip(self._used(), self.used))
        memory, there = (memory_mib(pid) for pid in self.world.pids())
        print(f"many: {self.what}: {time.monotonic() - self.began:.1f} s; the server: {server:.2f} s of processor time, "
              f"{memory:.0f} MiB; the API server: {cluster:.1f} s, {there:.0f} MiB", flush=True)


def settle(world):
    """Until the server has done what there was to be done: it uses less than a twentieth of a processor."""
    pid, before = world.pids()[0], -1.0
    while True:
        now = processor_s(pid)
        if before >= 0 and now - before < SETTLE_S / 20:
            return
        before = now
        time.sleep(SETTLE_S)


def running(muster):
    """How many jobs run."""
    found = re.search(r"^muster_jobs_running (\d+)$", muster.api("GET", "/metrics").text, re.MULTILINE)
    return int(found[1])


def many(world, count=MANY):
    muster = world.muster
    with Phase(world, "no pods, a minute"):
        time.sleep(60)
    with Phase(world, f"{count} pods made"):
        names = world.submit("many", count)
        world.watch.wait_added(count)
    with Phase(world, "said to run by kubelets"):
        world.kubelets.run(list(world.watch.there))
        muster.wait_for(lambda: running(muster) >= count, "all to run", LONG_S)
        settle(world)
    with Phase(world, "all run, a minute"):
        time.sleep(60)
    muster.kill9()
    began = time.monotonic()
    muster.start()
    print(f"many: killed: its first answer {time.monotonic() - began:.2f} s after it was started", flush=True)
    with Phase(world, "from then until all are listed and known again"):
        muster.wait_for(lambda: len(nodes(muster)) >= NODES, "the nodes", LONG_S)
        settle(world)
    assert running(muster) == count
    with Phase(world, "all cancelled and gone"):
        world.cancel(names)


SECTIONS = {"rate": rate, "delay": delay, "calls": calls, "many": many}


def main():
    asked = dict(one.partition("=")[::2] for one in sys.argv[1:]) or dict.fromkeys(SECTIONS, "")
    if not set(asked) <= set(SECTIONS) or any(count for name, count in asked.items() if name != "many"):
        sys.exit(f"sections: {' '.join(SECTIONS)}; many may have a number of pods, as in many=500")
    components = subprocess.run([os.path.join(ROOT, "scripts", "kube-build"), *COMPONENTS], check=True, text=True,
                                stdout=subprocess.PIPE).stdout.strip()
    for audit in (False, True):
        chosen = [name for name in asked if (name == "calls") == audit]
        if not chosen:
            continue
        with tempfile.TemporaryDirectory(prefix="muster-kube-bench-") as folder:
            world = World(folder, components, audit)
            try:
                for name in chosen:
                    SECTIONS[name](world, *([int(asked[name])] if asked[name] else []))
            finally:
                world.close()


if __name__ == "__main__":
    main()
