"""Backups made while the server runs, and what is restored from them."""
import os
import stat
import threading

import pytest

import muster as helper
from manifests import job, team

pytestmark = pytest.mark.threaded  # commits, verification and copies have threads

LISTS = ("teams", "pools", "classes", "jobs?limit=1000", "nodes", "tokens", "secrets/vision",
         "audit?limit=1000", "cost?by=job")


def content(muster):
    return {path: muster.call("GET", f"/v1/{path}") for path in LISTS}


def restored(muster, backup, data):
    """A second server on what the backup holds. The keys are files beside the store; a restore on
    the same machine brings them along."""
    other = helper.Muster(data)
    other.cli("restore", backup, "--data", data)
    return other


def test_a_restored_server_has_the_content_of_the_moment_of_the_backup(site, tmp_path):
    site.apply(team("speech", requiredLabels=["model"]))
    site.call("PUT", "/v1/secrets/vision/key", {"value": "v"})
    site.call("POST", "/v1/tokens", {"user": "ann"})
    site.run(job("over", "exit 3"))
    site.submit(job("held", "true", hold=True))
    before = content(site)
    backup = site.call("POST", "/v1/backup", {"path": "one.db"})["path"]
    site.run(job("later", "true"))
    assert backup == f"{site.data}/backup/one.db"
    assert stat.S_IMODE(os.stat(backup).st_mode) & 0o077 == 0
    other = restored(site, backup, tmp_path / "other")
    try:
        other.start()
        assert content(other) == before
        assert other.call("POST", "/v1/audit/verify")["ok"]
        done = other.run(job("goes-on", "true"))
        assert done["status"]["state"] == "succeeded"
    finally:
        other.teardown()


def test_a_backup_under_load_is_one_moment(site, tmp_path):
    """Jobs come in order, one after the other: a moment has all up to some number."""
    stop = threading.Event()
    numbers = []

    def submit():
        while not stop.is_set():
            site.submit(job(f"n{len(numbers):05}", "true", hold=True))
            numbers.append(len(numbers))

    client = threading.Thread(target=submit)
    client.start()
    try:
        site.wait_for(lambda: len(numbers) >= 20, "some jobs")
        least = len(numbers)
        backup = site.cli("backup", "busy.db").stdout.split()[-1]
    finally:
        stop.set()
        client.join(timeout=60)
    other = restored(site, backup, tmp_path / "other")
    try:
        other.start()
        items, after = [], ""
        while True:
            page = other.call("GET", f"/v1/jobs?limit=1000{after}")
            items += page["items"]
            if "next" not in page:
                break
            after = f"&after={page['next']}"
        names = sorted(item["metadata"]["name"] for item in items)
        assert least <= len(names) <= len(numbers)
        assert names == [f"n{i:05}" for i in range(len(names))]
        assert other.call("POST", "/v1/audit/verify")["ok"]
    finally:
        other.teardown()


def test_a_backup_goes_nowhere_but_the_backup_folder_and_overwrites_nothing(site):
    for path in ("../x.db", "/tmp/x.db", "a/b.db", ".hidden", ""):
        assert site.api("POST", "/v1/backup", {"path": path}).status == 422, path
    site.call("POST", "/v1/backup", {"path": "one.db"})
    assert site.api("POST", "/v1/backup", {"path": "one.db"}).status == 409


def test_a_damaged_backup_or_a_used_data_directory_is_refused(site, tmp_path):
    backup = site.call("POST", "/v1/backup", {"path": "one.db"})["path"]
    used = site.cli("restore", backup, "--data", site.data, ok=False)
    assert used.returncode != 0 and site.call("GET", "/healthz")["status"] == "ok"
    with open(backup, "r+b") as file:
        file.seek(os.path.getsize(backup) // 2)
        file.write(b"\0" * 4096)
    damaged = site.cli("restore", backup, "--data", tmp_path / "other", ok=False)
    assert damaged.returncode != 0 and damaged.stderr
