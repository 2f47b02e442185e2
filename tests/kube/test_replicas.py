"""A service whose replicas are pods: readiness from their answers, requests through the real gateway straight to
the addresses of pods, a server that is killed, and a pod that somebody deletes."""
import os

import pytest

import manifests
import world
from manifests import manifest, model, service
from test_services import Gateway, push, ready, replicas, status

# A replica in sh: says which pod it is and how long the model's file is.
HANDLER = r"""
read method path rest
length=0
while read name value && [ -n "${name%$(printf '\r')}" ]; do
  case $name in [Cc]ontent-[Ll]ength:) length=${value%$(printf '\r')};; esac
done
busybox dd bs=1 count=$length >/dev/null 2>&1
said="{\"model_name\":\"$MUSTER_MODEL_NAME\",\"model_version\":\"$MUSTER_MODEL_VERSION\",\"outputs\":[{\"name\":\"said\",\
\"datatype\":\"BYTES\",\"shape\":[1],\"data\":[\"$(hostname -i) has $(wc -l < $MUSTER_INPUT_MODEL/weights) lines\"]}]}"
printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
  ${#said} "$said"
"""
SERVE = r"""
trap 'exit 0' TERM
printf '%s' "$HANDLER" > /tmp/handler
echo serving {model} on {port}
busybox nc -ll -p {port} -e /bin/sh /tmp/handler &
wait
"""


@pytest.fixture(params=["copied", "in-place"])
def served(site, real_node, volume, account, tmp_path, request):
    """A server whose data, and with it the models, lies on the claim's volume or elsewhere; a gateway."""
    muster = world.start_server(
        (volume if request.param == "in-place" else tmp_path) / "server", account, volume,
        manifest("Runtime", "shell", {"listen": "port", "port": 8080, "image": world.IMAGE,
                                      "protocols": ["oip"], "command": ["/bin/sh", "-c", SERVE.replace("${", "${{")],
                                      "env": {"HANDLER": HANDLER.replace("{", "{{")},
                                      "readiness": {"path": "/v2/health/ready", "period": "200ms"}}),
        model("digits", runtime="shell"))
    gateway = None
    muster.copies = request.param == "copied"
    try:
        push(muster)
        muster.token = muster.call("POST", "/v1/tokens", {"user": "boss"})["token"]
        muster.apply(manifests.team(members=[{"user": "boss", "role": "viewer"}]))
        gateway = Gateway(muster)
        yield muster, gateway
    finally:
        if gateway:
            gateway.stop()
        world.stop_server(muster)


def digits(**spec):
    return service("digits", "digits", placement={"pool": "cluster"}, resources={"cpu": 0.1, "disk": "0"},
                   grace="2s", drain="5s", restart={"backoff": "100ms", "backoffMax": "2s"}, **spec)


def answer(muster, gateway, said="hello"):
    code, body = gateway.ask(said, token=muster.token)
    return body["outputs"][0]["data"][0] if code == 200 else (code, body)


def copies(muster):
    """The models that were copied to the claim's volume, whole ones and others."""
    with open(os.path.join(muster.data, "owner"), encoding="ascii") as name:
        owner = name.read().strip()
    return list(muster.volume.glob(f".muster/{owner}.*/inputs/*"))


def test_requests_reach_pods_through_the_gateway(served, site):
    muster, gateway = served
    muster.apply(digits(replicas=2))
    ready(muster, 2)
    addresses = {pod["status"]["podIP"] for pod in site.items(world.PODS)}
    assert len(addresses) == 2
    muster.wait_for(lambda: isinstance(answer(muster, gateway), str), "the route")
    said = {answer(muster, gateway) for _ in range(12)}
    assert said == {f"{address} has 1 lines" for address in addresses}, said
    uids = {pod["metadata"]["uid"] for pod in site.items(world.PODS)}
    muster.kill9()
    assert answer(muster, gateway) in said
    muster.start()
    ready(muster, 2)
    assert len(copies(muster)) == (1 if muster.copies else 0)  # one for both, and a restart takes none away
    assert {pod["metadata"]["uid"] for pod in site.items(world.PODS)} == uids
    site.call("DELETE", f"{world.PODS}/{site.items(world.PODS)[0]['metadata']['name']}")
    muster.wait_for(lambda: {pod["metadata"]["uid"] for pod in site.items(world.PODS)} - uids and
                    status(muster)["ready"] == 2, "the replica that was deleted to be replaced")
    muster.wait_for(lambda: isinstance(answer(muster, gateway), str), "the gateway to know")
    muster.apply(digits(replicas=0))
    muster.wait_for(lambda: not replicas(muster), "the replicas to go")
    world.nothing_left(site)


def test_a_model_that_pods_do_not_see_is_said(server, site, account, volume):
    server.apply(world.pool(account, volume, folder="/nowhere"))
    server.apply(manifest("Runtime", "shell", {"listen": "port", "port": 8080, "command": ["/bin/true"]}),
                 model("digits", runtime="shell"))
    push(server)
    server.apply(digits(replicas=1))
    said = "in which this server sees and writes its volume"  # which is what helps
    server.wait_for(lambda: any(said in str(server.job(one["id"])) for one in replicas(server)), "the reason")
    server.apply(digits(replicas=0))
    world.nothing_left(site)
