"""The scripts themselves: a run of tests that could not fail would prove nothing."""
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def write_script(path, text):
    path.write_text("#!/bin/bash\n" + text, encoding="utf-8")
    path.chmod(0o755)
    return path


def run_unit_tests(tmp_path, *bodies, **environment):
    """Runs scripts/run-tests on a build whose unit tests are the given bash scripts."""
    lines = []
    for number, body in enumerate(bodies):
        path = write_script(tmp_path / f"test{number}", body)
        lines.append(f"test{number}\t{path}\n")
    (tmp_path / "unit-tests.txt").write_text("".join(lines) or "\n", encoding="utf-8")
    return subprocess.run(
        [os.path.join(ROOT, "scripts/run-tests"), "--only", "unit", "--build", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment})


PASS = "printf '1..2\\nok 1 - a\\nok 2 - b\\n'\n"
SKIP = "printf '1..1\\nno such device\\nnot ok 1 # SKIP c\\n'\n"
FAIL = "printf '1..2\\nok 1 - a\\nnot ok 2 - b\\n# 0x1 != 0x2\\n'; exit 1\n"


@pytest.mark.parametrize("bodies, closing, status", [
    ([PASS], "2 passed, 0 failed", 0),
    ([PASS, SKIP], "2 passed, 0 failed, 1 skipped", 0),
    ([PASS, FAIL], "3 passed, 1 failed", 1),
    ([PASS, "true"], "2 passed, 1 failed", 1),
    ([], "0 passed, 0 failed", 1),
    ([PASS + "kill -SEGV $$\n"], "2 passed, 1 failed", 1),
    ([PASS + "exit 3\n"], "2 passed, 1 failed", 1),
    (["printf '1..3\\nok 1 - a\\n'\n"], "1 passed, 1 failed", 1),
    (["printf '1..1\\nhello ok 1 - a\\n'\n"], "1 passed, 0 failed", 0),
])
def test_the_closing_line_counts_everything(tmp_path, bodies, closing, status):
    done = run_unit_tests(tmp_path, *bodies)
    assert done.stdout.splitlines()[-1] == closing
    assert done.returncode == status
    assert len(re.findall(r"^\d+ passed, ", done.stdout, re.MULTILINE)) == 1


def test_a_hanging_unit_test_is_killed_and_fails(tmp_path):
    done = run_unit_tests(tmp_path, "trap exit INT; sleep 1000 & wait\n", MUSTER_UNIT_TIMEOUT_S="1")
    assert "still running after 1 s" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed"


def test_failures_show_their_output_and_skips_their_reason(tmp_path):
    done = run_unit_tests(tmp_path, FAIL, SKIP)
    assert "test0: b: 0x1 != 0x2" in done.stdout
    assert "test1: c: no such device" in done.stdout


@pytest.fixture
def fake_apt(tmp_path):
    """A PATH on which dpkg-query knows every package but `meson`, until apt-get installs it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    write_script(tools / "dpkg-query", f"""
        shift 3
        for name; do
            [ "$name" = meson ] && [ ! -e {tmp_path}/installed ] || echo "$name installed"
        done""")
    write_script(tools / "apt-cache", "exit 0")
    write_script(tools / "apt-get", f"""
        echo "$*" >>{tmp_path}/calls
        [[ "$*" != *install* ]] || touch {tmp_path}/installed""")
    write_script(tools / "sudo", 'exec "$@"')
    return {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}


def run_deps(environment, *purposes):
    return subprocess.run([os.path.join(ROOT, "scripts/deps"), *purposes], env=environment,
                          capture_output=True, text=True, timeout=60, check=False)


def test_deps_installs_what_is_missing_and_says_why(tmp_path, fake_apt):
    done = run_deps(fake_apt, "build")
    assert done.returncode == 0, done.stderr
    assert re.search(r"meson +describes the build", done.stdout)
    calls = (tmp_path / "calls").read_text(encoding="utf-8")
    assert re.search(r"install -y --no-install-recommends meson$", calls, re.MULTILINE)
    assert "update" not in calls


def test_deps_is_silent_when_nothing_is_missing(tmp_path, fake_apt):
    (tmp_path / "installed").touch()
    done = run_deps(fake_apt, "build", "test", "demo", "fuzz", "format", "ci")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "calls").exists()


def test_deps_fails_when_a_package_stays_missing(tmp_path, fake_apt):
    write_script(tmp_path / "tools/apt-get", "exit 0")
    done = run_deps(fake_apt, "build")
    assert done.returncode == 1
    assert "still missing: meson" in done.stderr


def test_deps_refuses_a_purpose_it_does_not_know(fake_apt):
    assert run_deps(fake_apt, "everything").returncode == 2
    assert run_deps(fake_apt).returncode == 2


# ---- scripts/kube-build, with a Go whose module proxy does not answer

HANGING_GO = """[ "$1 $2" = "env GOVERSION" ] && { echo go1.26.0; exit; }
echo "go $1" >> "$SEEN"
[ "$1" = list ] && exec sleep 1000
exit 1
"""
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")


def build_kube(tmp_path, *arguments):
    (tmp_path / "bin").mkdir(exist_ok=True)
    write_script(tmp_path / "bin" / "go", HANGING_GO)
    return subprocess.run(
        [os.path.join(ROOT, "scripts/kube-build"), *arguments], capture_output=True, text=True, timeout=60,
        check=False, env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "SEEN": str(tmp_path / "seen"),
                          "MUSTER_KUBE_CACHE": str(tmp_path / "cache"), "MUSTER_KUBE_FETCH_S": "1"})


def test_components_whose_download_hangs_are_given_up(tmp_path):
    done = build_kube(tmp_path)
    assert done.returncode == 3 and not done.stdout
    assert re.search(r"module proxy is out of reach: k8s.io/kubernetes v1\.\S+ cannot be had", done.stderr)
    assert (tmp_path / "seen").read_text() == "go list\n"  # nothing was compiled


def test_a_metrics_server_whose_download_hangs_is_left_out(tmp_path):
    build_kube(tmp_path, "kubelet")
    folder, = (tmp_path / "cache").iterdir()
    for name in COMPONENTS:
        write_script(folder / name, "")
    done = build_kube(tmp_path)
    assert done.returncode == 0 and done.stdout == f"{folder}\n"
    assert re.search(r"module proxy is out of reach: metrics-server v\S+ cannot be had", done.stderr)
    assert not (folder / "metrics-server").exists()
