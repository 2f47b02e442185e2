"""A Slurm of its own in a folder: munged, slurmctld, several slurmd on this one machine, slurmrestd.

What a user would configure on a small cluster, with names and ports of their own for each node. GPUs
are device nodes made with mknod. Everything is stopped by its process id. Also a program:

    tests/slurm.py FOLDER                 starts a cluster there and runs until it is interrupted
    tests/slurm.py FOLDER FAULT [WHAT]    does something to it: see FAULTS
"""
import collections
import contextlib
import grp
import json
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import manifests
from muster import Muster

PROGRAMS = ["munged", "mungekey", "slurmctld", "slurmd", "slurmrestd", "scontrol", "scancel"]
NODES = 4
CPUS, MEMORY_MB, GPUS = 4, 2000, 2
USER = "nobody"  # slurmrestd runs as an ordinary user, whose jobs they are
PATIENCE_S = 60


def why_not():
    """Why no cluster can be started here, or None."""
    if os.geteuid() != 0:
        return "several slurmd on one machine need root"
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    return f"not installed: {' '.join(missing)}" if missing else None


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def wait_until(what, happened, seconds=PATIENCE_S):
    """Far longer than anything here takes; not a timed assertion."""
    until = time.monotonic() + seconds
    while True:
        found = happened()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.05)


CONFIG = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key={folder}/jwt.key
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
{accounting}
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu,shard
MinJobAge=10
KillWait=5
SlurmdTimeout=20
MessageTimeout=10
BatchStartTimeout=60
InactiveLimit=0
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=CANCEL GraceTime=600
PartitionName=first Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=short Nodes=ALL MaxTime=1 State=UP PriorityTier=5 PreemptMode=OFF
"""


class Proxy:
    """Between muster and slurmrestd, for the days on which that is not well: the file `mode` says
    pass, stop (nobody listens), hang (nobody answers), cut (half of an answer), late (what was asked
    is passed on when whoever asked has long given up), slow (each takes its time). `skew_s` is how far the cluster's clock seems to be ahead."""

    LATE_S = 4
    SLOW_S = 0.1

    def __init__(self, path, upstream):
        self.path, self.upstream = path, upstream
        self.mode_path = path + ".mode"
        self.skew_s = 0
        self.set_mode("pass")
        self.seen = collections.Counter()  # requests, by method and path, numbers aside
        self.listening = None
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        wait_until("the start of the proxy", lambda: os.path.exists(path))

    def set_mode(self, mode):
        with open(self.mode_path + ".new", "w", encoding="utf-8") as text:
            text.write(mode)
        os.rename(self.mode_path + ".new", self.mode_path)

    def mode(self):
        with open(self.mode_path, encoding="utf-8") as text:
            return text.read().strip()

    def listen(self, wanted):
        if wanted and not self.listening:
            self.listening = socket.socket(socket.AF_UNIX)
            self.listening.bind(self.path)
            self.listening.listen(64)
            self.listening.settimeout(0.05)
        elif not wanted and self.listening:
            self.listening.close()
            os.unlink(self.path)
            self.listening = None

    def run(self):
        while not self.stopping:
            self.listen(self.mode() != "stop")
            if not self.listening:
                time.sleep(0.02)
                continue
            try:
                connection, _ = self.listening.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()
        self.listen(False)

    @staticmethod
    def read_message(reader):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = reader.readline()
            if not line:
                return None
            head += line
        length = [int(line.split(b":")[1]) for line in head.split(b"\r\n")
                  if line.lower().startswith(b"content-length:")]
        return head + reader.read(length[0] if length else 0)

    def count(self, request):
        method, path = request.split(b" ", 2)[:2]
        self.seen[re.sub(r"/\d+", "/N", f"{method.decode()} {path.decode().partition('?')[0]}")] += 1

    def serve(self, connection):
        with contextlib.suppress(OSError), connection, socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(self.upstream)
            reader, answers = connection.makefile("rb"), upstream.makefile("rb")
            while request := self.read_message(reader):
                self.count(request)
                mode = self.mode()
                if mode == "stop":
                    return
                if mode == "hang":
                    while self.mode() == "hang" and not self.stopping:
                        time.sleep(0.05)
                    return
                if mode in ("late", "slow"):
                    time.sleep(self.LATE_S if mode == "late" else self.SLOW_S)
                upstream.sendall(request)
                answer = self.read_message(answers)
                if not answer:
                    return
                if self.skew_s:
                    answer = self.skewed(answer)
                if mode == "cut":
                    connection.sendall(answer[:len(answer) // 2])
                    return
                connection.sendall(answer)

    def skewed(self, answer):
        """Every moment of an answer, as a cluster says it whose clock is not ours."""
        head, _, body = answer.partition(b"\r\n\r\n")
        body = re.sub(rb'("[a-z_]*time[a-z_]*": ?)(\d{9,10})(?=\D)',
                      lambda found: found[1] + str(int(found[2]) + self.skew_s).encode(), body)
        head = re.sub(rb"(?i)(content-length: *)\d+", lambda found: found[1] + str(len(body)).encode(), head)
        return head + b"\r\n\r\n" + body

    def close(self):
        self.stopping = True
        self.thread.join()


class TlsProxy:
    """What sites put before slurmrestd, which speaks no TLS."""

    def __init__(self, folder, upstream):
        self.upstream = upstream
        self.certificate = f"{folder}/cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=slurm.test",
                        "-addext", "subjectAltName=DNS:slurm.test", "-keyout", f"{folder}/key.pem",
                        "-out", self.certificate], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, f"{folder}/key.pem")
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError), \
                self.context.wrap_socket(connection, server_side=True) as client, \
                socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(self.upstream)
            reader, answers = client.makefile("rb"), upstream.makefile("rb")
            while request := Proxy.read_message(reader):
                upstream.sendall(request)
                answer = Proxy.read_message(answers)
                if not answer:
                    return
                client.sendall(answer)

    def close(self):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


class Slurm:
    def __init__(self, folder, nodes=NODES, more="", accounting=False, shards=0):
        self.folder = str(folder)
        self.accounting, self.database_ports = accounting, None  # of the database, of slurmdbd
        self.more = more  # lines of slurm.conf
        self.shards = shards  # of all the GPUs of a node together
        self.nodes = [f"n{i + 1}" for i in range(nodes)]
        self.host = socket.gethostname().split(".")[0]
        self.environment = dict(os.environ, SLURM_CONF=f"{self.folder}/slurm.conf",
                                PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
        self.environment.pop("LD_PRELOAD", None)
        self.processes = {}
        self.rest_socket = f"{self.folder}/rest/socket"
        self.proxy_socket = f"{self.folder}/rest/proxy"
        self.proxy = None
        self.shared = f"{self.folder}/shared"

    # ---- the parts -------------------------------------------------------------------------

    def run(self, *command, check=True):
        return subprocess.run(command, env=self.environment, check=check, text=True,
                              capture_output=True).stdout

    def spawn(self, name, *command, user=None):
        groups = dict(user=user, group=grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name,
                      extra_groups=[]) if user else {}
        with open(f"{self.folder}/{name}.out", "ab") as out:
            process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=out, start_new_session=True, **groups)
        self.processes[name] = process
        return process

    def stop(self, name, how=signal.SIGTERM):
        process = self.processes.pop(name, None)
        if not process:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def make_gpus(self):
        lines = []
        for node in self.nodes:
            os.makedirs(f"{self.folder}/dev", exist_ok=True)
            for i in range(GPUS):
                path = f"{self.folder}/dev/{node}-gpu{i}"
                os.mknod(path, 0o666 | 0o020000, os.makedev(1, 3))
                lines.append(f"NodeName={node} Name=gpu Type=toy File={path}")
            if self.shards:
                lines.append(f"NodeName={node} Name=shard Count={self.shards}")
        return lines

    def configure(self):
        for name in ("munge", "state", "spool", "rest", "shared"):
            os.makedirs(f"{self.folder}/{name}")
        os.chmod(self.folder, 0o755)
        shutil.chown(f"{self.folder}/rest", USER)
        *ports, database, accounting = free_ports(len(self.nodes) + 3)
        self.database_ports = (database, accounting) if self.accounting else None
        addresses = ["127.0.0.1"] * (len(self.nodes) - 1) + ["localhost"]  # one that is a name
        nodes = [f"NodeName={name} NodeHostname={self.host} NodeAddr={address} Port={port} "
                 f"CPUs={CPUS} RealMemory={MEMORY_MB} TmpDisk=0 Gres=gpu:toy:{GPUS}{f',shard:{self.shards}' if self.shards else ''} "
                 f"Feature=toy State=UNKNOWN"
                 for name, port, address in zip(self.nodes, ports[1:], addresses)]
        with open(f"{self.folder}/slurm.conf", "w", encoding="utf-8") as text:
            text.write(CONFIG.format(folder=self.folder, host=self.host, controller_port=ports[0],
                                     accounting=self.accounting_lines(),
                                     nodes="\n".join(nodes)) + self.more)
        with open(f"{self.folder}/gres.conf", "w", encoding="utf-8") as text:
            text.write("\n".join(self.make_gpus()) + "\n")
        with open(f"{self.folder}/jwt.key", "wb", opener=lambda *a: os.open(*a, 0o600)) as key:
            key.write(os.urandom(32))
        with open(f"{self.folder}/cgroup.conf", "w", encoding="utf-8") as text:
            text.write("CgroupAutomount=no\n")

    # ---- accounting --------------------------------------------------------------------------

    def accounting_lines(self):
        if not self.database_ports:
            return "AccountingStorageType=accounting_storage/none"
        return (f"AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\n"
                f"AccountingStoragePort={self.database_ports[1]}\nAccountingStoragePass={self.folder}/munge/socket")

    def start_database(self):
        """MariaDB with its files in the folder, on the loopback address."""
        folder = f"{self.folder}/database"
        os.makedirs(folder)
        self.run("mariadb-install-db", "--no-defaults", f"--datadir={folder}/data", "--user=root",
                 "--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve")
        self.spawn("mariadbd", "mariadbd", "--no-defaults", f"--datadir={folder}/data", "--user=root",
                   f"--socket={folder}/socket", "--bind-address=127.0.0.1", f"--port={self.database_ports[0]}",
                   f"--pid-file={folder}/pid", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0")
        wait_until("the start of the database", lambda: subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={folder}/socket", "-e",
             "create user if not exists slurm@127.0.0.1 identified by 'slurm'; "
             "grant all on *.* to slurm@127.0.0.1"], check=False, capture_output=True).returncode == 0)

    def start_accounting(self):
        with open(f"{self.folder}/slurmdbd.conf", "w", encoding="ascii",
                  opener=lambda *a: os.open(*a, 0o600)) as text:
            text.write(f"AuthType=auth/munge\nAuthInfo=socket={self.folder}/munge/socket\n"
                       f"AuthAltTypes=auth/jwt\nAuthAltParameters=jwt_key={self.folder}/jwt.key\n"
                       f"DbdHost=localhost\nDbdAddr=127.0.0.1\nDbdPort={self.database_ports[1]}\n"
                       f"SlurmUser=root\nLogFile={self.folder}/slurmdbd.log\n"
                       f"PidFile={self.folder}/slurmdbd.pid\nStorageType=accounting_storage/mysql\n"
                       f"StorageHost=127.0.0.1\nStoragePort={self.database_ports[0]}\n"
                       "StorageUser=slurm\nStoragePass=slurm\n")
        self.spawn("slurmdbd", "slurmdbd", "-D")
        wait_until("the start of slurmdbd", lambda: "trial" in self.run(
            "sacctmgr", "-n", "list", "cluster", check=False) or self.run(
                "sacctmgr", "-i", "add", "cluster", "trial", check=False))

    def start_munge(self):
        folder = f"{self.folder}/munge"
        os.chmod(folder, 0o711)
        if not os.path.exists(f"{folder}/key"):
            self.run("mungekey", "--create", f"--keyfile={folder}/key")
        self.spawn("munged", "munged", "--foreground", "--force", f"--socket={folder}/socket",
                   f"--key-file={folder}/key", f"--pid-file={folder}/pid",
                   f"--seed-file={folder}/seed", f"--log-file={folder}/log")
        wait_until("the start of munged", lambda: os.path.exists(f"{folder}/socket"))

    def start_controller(self):
        self.spawn("slurmctld", "slurmctld", "-D")
        wait_until("the start of slurmctld",
                   lambda: "UP" in self.run("scontrol", "ping", check=False))

    def start_node(self, name):
        self.spawn(f"slurmd-{name}", "slurmd", "-D", "-N", name)

    def start_token_rest(self):
        """A second slurmrestd, which wants tokens; returns its socket."""
        path = f"{self.folder}/rest/tokens"
        self.spawn("slurmrestd-tokens", "env", "SLURM_JWT=daemon", "slurmrestd", "-a", "rest_auth/jwt", "-s", "openapi/v0.0.38",
                   f"unix:{path}", user=USER)
        wait_until("the start of slurmrestd", lambda: os.path.exists(path))
        return path

    def token(self, user=USER):
        """A JSON Web Token as its owner would get it."""
        return self.run("scontrol", "token", f"username={user}")

    def start_rest(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.rest_socket)
        self.spawn("slurmrestd", "slurmrestd", "-a", "rest_auth/local", "-s",
                   "openapi/v0.0.38" + (",openapi/dbv0.0.38" if self.database_ports else ""),
                   f"unix:{self.rest_socket}", user=USER)
        wait_until("the start of slurmrestd", lambda: os.path.exists(self.rest_socket))

    # ---- the whole -------------------------------------------------------------------------

    def start(self):
        self.configure()
        self.start_munge()
        if self.database_ports:
            self.start_database()
            self.start_accounting()
        self.start_controller()
        for name in self.nodes:
            self.start_node(name)
        self.start_rest()
        self.proxy = Proxy(self.proxy_socket, self.rest_socket)
        wait_until("all nodes being idle", self.all_idle)
        return self

    def all_idle(self):
        lines = self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t", check=False).split("\n")
        return sum(line.endswith(" idle") for line in lines) == len(self.nodes)

    def jobs(self):
        """What squeue says: by id, a list of name, state, nodes, comment."""
        lines = self.run("squeue", "-h", "-t", "all", "-o", "%A|%j|%T|%N|%k").splitlines()
        return {int(line.split("|")[0]): line.split("|")[1:] for line in lines}

    def job(self, number):
        return self.run("scontrol", "show", "job", str(number), check=False)

    def close(self):
        self.run("scancel", "--user", USER, check=False)
        if "slurmctld" in self.processes:
            with contextlib.suppress(AssertionError):
                wait_until("the end of all jobs", lambda: not self.run("squeue", "-h", check=False),
                           20)
        if self.proxy:
            self.proxy.close()
        for name in list(reversed(self.processes)):
            self.stop(name)

    # ---- faults ----------------------------------------------------------------------------

    def api(self, mode):
        path = self.proxy_socket + ".mode"
        with open(path + ".new", "w", encoding="utf-8") as text:
            text.write(mode)
        os.rename(path + ".new", path)

    def preempt(self, _number=None):
        """A job that comes first and wants every node."""
        self.run("sbatch", "--partition=first", f"--nodes={len(self.nodes)}", "--exclusive",
                 "--chdir=/", "--output=/dev/null", f"--uid={USER}", "--wrap=sleep 1")

    def pool(self, name="cluster", **options):
        """A Pool's manifest, through the proxy."""
        slurm = {"endpoint": f"unix:{self.proxy_socket}", "folder": self.shared, "user": USER,
                 "partition": "main", "poll": "200ms", **options}
        return {"apiVersion": "muster/v1", "kind": "Pool", "metadata": {"name": name},
                "spec": {"engine": "slurm", "slurm": slurm}}


FAULTS = {
    "api-stop": lambda slurm: slurm.api("stop"),
    "api-start": lambda slurm: slurm.api("pass"),
    "api-hang": lambda slurm: slurm.api("hang"),
    "api-cut": lambda slurm: slurm.api("cut"),
    "api-late": lambda slurm: slurm.api("late"),
    "cancel": lambda slurm, number: slurm.run("scancel", number),
    "preempt": lambda slurm, number: slurm.preempt(number),
    "node-down": lambda slurm, node: slurm.run("scontrol", "update", f"nodename={node}",
                                               "state=down", "reason=trial"),
    "node-up": lambda slurm, node: slurm.run("scontrol", "update", f"nodename={node}",
                                             "state=idle"),
}
NO_SUCH_FAULT = 77


@contextlib.contextmanager
def cluster(folder, nodes=NODES, more="", shards=0):
    slurm = Slurm(folder, nodes, more, shards=shards)
    try:
        yield slurm.start()
    finally:
        slurm.close()


@contextlib.contextmanager
def muster_on(cluster, data):
    """A server in `data` with a team and the cluster as its pool, whose nodes it knows."""
    server = Muster(data)
    try:
        server.start()
        server.apply(manifests.team(), cluster.pool(endpoint=f"unix:{cluster.rest_socket}"))
        server.wait_for(lambda: len(server.call("GET", "/v1/nodes")["items"]) == len(cluster.nodes),
                        "the nodes of the cluster")
        yield server
    finally:
        server.teardown()
        print(server.log())


def main():
    folder = sys.argv[1]
    if len(sys.argv) > 2:
        fault = FAULTS.get(sys.argv[2])
        if not fault:
            sys.exit(NO_SUCH_FAULT)
        fault(Slurm(folder), *sys.argv[3:])
        return
    os.makedirs(folder, exist_ok=True)
    with cluster(folder) as slurm:
        print(json.dumps(slurm.pool()), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            while True:
                signal.pause()


if __name__ == "__main__":
    main()
