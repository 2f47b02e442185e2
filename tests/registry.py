"""What scenarios with datasets and models have in common: versions made by real jobs."""
import base64
import json

from manifests import TEAM, job

# As many as the tests of one instance make.
COUNT = iter(range(1, 1 << 30))


def wait_outputs(muster, reference):
    """The outputs of a job that has succeeded, once they are taken in."""
    def taken():
        outputs = muster.job(reference)["status"].get("outputs", {"state": "pending"})
        assert outputs["state"] in ("pending", "collected"), json.dumps(outputs, indent=1)
        return outputs["outputs"] if outputs["state"] == "collected" else None
    return muster.wait_for(taken, f"the outputs of {reference}")


def write_script(files):
    """A script for the shell that writes files ({name: bytes or text}) into MUSTER_OUTPUT_MADE."""
    lines = ["cd $MUSTER_OUTPUT_MADE"]
    for name, content in files.items():
        content = content.encode() if isinstance(content, str) else content
        lines.append(f"echo {base64.b64encode(content).decode()} | base64 -d > {name}")
    return "; ".join(lines)


def make_version(muster, kind, name, files=None, metrics=None, team=TEAM, token=None, **spec):
    """The number of a new version of the kind ("model", "dataset") that a job makes."""
    script = write_script(files or {"data": f"{next(COUNT)}\n"})
    if metrics:
        script += f"; echo '{json.dumps(metrics)}' >> $MUSTER_METRICS"
    made = muster.submit(job(f"make-{name}-{next(COUNT)}", script, team=team,
                             outputs=[{"name": "made", kind: name}], **spec), token=token)
    muster.wait_job(made, "succeeded")
    return wait_outputs(muster, made)[0]["version"]
