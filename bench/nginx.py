"""nginx as a peer: one worker that answers from memory, on a Unix socket, without a log.

The one that is installed, or else Debian's package unpacked in the build folder: installing it would
make it a service of the machine, which nobody asked for."""
import contextlib
import os
import shutil
import signal
import subprocess
import time

import measure

CONFIGURATION = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen unix:{folder}/nginx.sock;
        location /healthz {{
            default_type application/json;
            add_header X-Content-Type-Options nosniff;
            add_header Cache-Control no-store;
            add_header Content-Security-Policy "default-src 'none'";
            return 200 '{{"status":"ok","version":"0.1.0"}}\\n';
        }}
    }}
}}
"""


def find():
    """The program, or None."""
    folder = measure.BUILD / "peer"
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:{folder}/usr/sbin")


def fetch():
    """Makes sure that there is one, if apt can; says so."""
    folder = measure.BUILD / "peer"
    if find():
        return
    folder.mkdir(exist_ok=True)
    print("nginx as a peer: unpacking Debian's package in", folder)
    done = subprocess.run("apt-get -qq download nginx && dpkg -x nginx_*.deb .", cwd=folder,
                          shell=True, capture_output=True, text=True, check=False)
    if done.returncode or not find():
        print("there is none, so its rows stay empty:", done.stderr.strip())


@contextlib.contextmanager
def running():
    """The path of its socket."""
    with measure.folder() as folder:
        configuration = folder / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(folder=folder))
        server = subprocess.Popen([find(), "-c", str(configuration), "-e", str(folder / "nginx.log")])
        try:
            for _ in range(1000):
                if measure.healthy(folder / "nginx.sock"):
                    break
                time.sleep(0.005)
            yield folder / "nginx.sock"
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
