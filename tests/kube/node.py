"""A real node of the test cluster: kubelet with containerd, from Debian's packages, and one image made here
of the static busybox, since none can be pulled."""
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile

import yaml

from cluster import free_port, wait_until

IMAGE = "muster.test/busybox:1"
NEEDS = ("containerd", "runc", "ctr", "busybox", "iptables", "mount", "umount")
PLUGINS = "/usr/lib/cni"


def missing():
    """Why there can be no real node on this machine, or ""."""
    if os.geteuid() != 0:
        return "a kubelet needs root"
    absent = [name for name in NEEDS if not shutil.which(name)]
    if absent or not os.path.exists(os.path.join(PLUGINS, "bridge")):
        return f"not installed: {' '.join(absent) or 'containernetworking-plugins'} (scripts/deps kube)"
    return ""


def write_image(path):
    """A tar as `docker save` makes it, with busybox and a shell."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name in ("bin", "tmp", "etc", "proc", "dev", "sys"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        entry = tarfile.TarInfo("bin/busybox")
        with open(shutil.which("busybox"), "rb") as content:
            data = content.read()
        entry.size, entry.mode = len(data), 0o755
        tar.addfile(entry, io.BytesIO(data))
        for name in ("sh", "sleep", "echo", "cat", "env", "id", "touch", "ls", "hostname", "httpd", "mkdir",
                     "od", "tr", "wc", "tar", "test", "kill", "rm", "date", "nc", "tail"):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sleep", "1000000"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for file, content in ((name, config), ("layer.tar", layer.getvalue()), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(file)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


class RealNode:
    """The node `real`, made of processes of the cluster's."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.socket = cluster.path("containerd.sock")
        self.bridge = f"mk{os.getpid() % 100000}"
        # Where pods are; of this machine alone. A kubelet takes no loopback address as its node's.
        self.network = f"10.{197 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.address = f"{self.network}.1"

    def path(self, *names):
        return self.cluster.path("node", *names)

    def start(self):
        os.makedirs(self.path("cni"), exist_ok=True)
        for command in (["add", self.bridge, "type", "bridge"], ["set", self.bridge, "up"]):
            subprocess.run(["ip", "link", *command], check=True)
        subprocess.run(["ip", "addr", "add", f"{self.address}/24", "dev", self.bridge], check=True)
        self._start_containerd()
        self._import_image()
        self._start_kubelet()
        wait_until(self._ready, "the real node to be ready")
        return self

    def _start_containerd(self):
        with open(self.path("cni", "10-muster.conflist"), "w", encoding="utf-8") as text:
            json.dump({"cniVersion": "0.4.0", "name": "muster", "plugins": [
                {"type": "bridge", "bridge": self.bridge, "isGateway": True, "ipMasq": False,
                 "ipam": {"type": "host-local", "dataDir": self.path("ipam"),
                          "ranges": [[{"subnet": f"{self.network}.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}, text)
        config = f"""version = 2
root = "{self.path("root")}"
state = "{self.path("state")}"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{self.path("cni")}"
"""
        with open(self.path("containerd.toml"), "w", encoding="utf-8") as text:
            text.write(config)
        self.cluster.spawn("containerd", ["containerd", "-c", self.path("containerd.toml")])
        wait_until(lambda: self._ctr("version").returncode == 0, "containerd")

    def _ctr(self, *arguments):
        return subprocess.run(["ctr", "-a", self.socket, "-n", "k8s.io", *arguments],
                              capture_output=True, check=False)

    def _import_image(self):
        write_image(self.path("image.tar"))
        done = self._ctr("images", "import", "--snapshotter", "native", self.path("image.tar"))
        assert done.returncode == 0, done.stderr

    def _start_kubelet(self):
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{self.socket}", "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": False, "enforceNodeAllocatable": [], "failSwapOn": False,
            "address": self.address, "port": free_port(), "healthzPort": 0, "readOnlyPort": 0,
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False},
                               "x509": {"clientCAFile": self.cluster.pki("ca.crt")}},
            "authorization": {"mode": "AlwaysAllow"}, "registerNode": True, "resolvConf": "",
            "tlsCertFile": self.cluster.pki("apiserver.crt"),
            "tlsPrivateKeyFile": self.cluster.pki("apiserver.key"),
            "evictionHard": {"memory.available": "1Mi"}, "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99, "nodeStatusUpdateFrequency": "1s", "makeIPTablesUtilChains": False,
            "nodeLeaseDurationSeconds": 4, "syncFrequency": "2s", "localStorageCapacityIsolation": False}
        with open(self.path("kubelet.yaml"), "w", encoding="utf-8") as text:
            yaml.safe_dump(config, text)
        self.cluster.spawn("kubelet", [
            os.path.join(self.cluster.bin, "kubelet"), f"--kubeconfig={self.cluster.kubeconfig_of('kubelet')}",
            f"--config={self.path('kubelet.yaml')}", f"--root-dir={self.path('kubelet')}",
            "--hostname-override=real", f"--node-ip={self.address}"])

    def _ready(self):
        node = self.cluster.find("/api/v1/nodes/real") or {}
        conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions", [])}
        return conditions.get("Ready") == "True"

    def stop(self):
        """Ends the kubelet, what it ran, and containerd; unmounts and removes what they leave behind."""
        for name in ("kubelet",):
            if name in self.cluster.processes:
                self.cluster.kill(name, signal.SIGTERM)
        listed = self._ctr("tasks", "ls", "-q").stdout.decode().split()
        for task in listed:
            self._ctr("tasks", "kill", "-s", "SIGKILL", task)
        wait_until(lambda: "RUNNING" not in self._ctr("tasks", "ls").stdout.decode(), "containers to end")
        for task in listed:
            self._ctr("tasks", "rm", "-f", task)
        for container in self._ctr("containers", "ls", "-q").stdout.decode().split():
            self._ctr("containers", "rm", container)
        if "containerd" in self.cluster.processes:
            self.cluster.kill("containerd", signal.SIGTERM)
        with open("/proc/mounts", encoding="utf-8") as mounts:
            ours = [line.split()[1] for line in mounts if line.split()[1].startswith(self.cluster.folder)]
        for mount in sorted(ours, reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        subprocess.run(["ip", "link", "del", self.bridge], check=False, capture_output=True)
