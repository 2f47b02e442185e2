"""What an account asked the API server for, as that itself wrote it down."""
import datetime
import json
import os

POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"]}


class Audit:
    """The requests of users whose names are in `users`, of all where there are none. Made before the API server is
    started; it goes on in the same file when that is killed and started again."""

    def __init__(self, site, users=()):
        policy, self.path = site.path("audit.yaml"), site.path("audit.log")
        rules = [{"level": "Metadata", **({"users": list(users)} if users else {})}]
        with open(policy, "w", encoding="ascii") as text:
            json.dump({**POLICY, "rules": rules + [{"level": "None"}]}, text)
        site.apiserver_more += [f"--audit-policy-file={policy}", f"--audit-log-path={self.path}"]

    def events(self):
        """Those about objects, in the order of their answers' ends. A killed API server may have left half a line."""
        if not os.path.exists(self.path):
            return
        with open(self.path, encoding="utf-8") as lines:
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if "objectRef" in event:
                    yield event


def resource(event):
    """As a role names it: pods, pods/log."""
    what = event["objectRef"]
    return what["resource"] + (f"/{what['subresource']}" if "subresource" in what else "")


def moment(text):
    """Of a time in an event, in seconds."""
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").timestamp()
