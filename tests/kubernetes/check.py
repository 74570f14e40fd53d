"""Checks the objects of deploy/kubernetes: by their schemas, and that what one of them names is there.

    check.py DIRECTORY
"""

import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import yaml

# From the first that has preStop.sleep by default to the newest that is known here.
VERSIONS = ["1.30", "1.33", "1.37"]

WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet")


def main(directory):
    base = Path(directory) / "base"
    kustomization, objects = read(base)
    configs = generated(base, kustomization)
    check(objects + overlaid(Path(directory) / "daemonset", objects), 4, configs, kustomization)
    edge, parent = configs["weir-edge"]["edge.toml"], configs["weir-parent"]["parent.toml"]
    parents = find(objects, "StatefulSet", "weir-parent")["spec"]["replicas"]
    same(
        "the parents that edges ask",
        edge["parents"]["urls"],
        [f"http://weir-parent-{n}.weir-parent:8080" for n in range(parents)],
    )
    same("the sites of edges and parents", edge["site"], parent["site"])
    shared = check_shared(Path(directory) / "ha", objects, configs, kustomization)
    check_relays(Path(directory) / "relays", objects, configs, kustomization)
    folders = {folder.name for folder in Path(directory).iterdir()}
    same("folders", folders, {"base", "daemonset", "ha", "relays"})
    print(f"{len(objects)} and {len(shared)} objects are right in Kubernetes {', '.join(VERSIONS)}")


def read(directory):
    """A kustomization, and the objects of its own files."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    files = [file for file in kustomization["resources"] if not file.startswith("../")]
    objects = []
    for file in files:
        objects += yaml.safe_load_all((directory / file).read_text())
    same(f"files of {directory.name}", {file.name for file in directory.glob("*.yaml")}, {*files, "kustomization.yaml"})
    return kustomization, objects


def check(objects, count, configs, kustomization):
    for object in objects:
        for version in VERSIONS:
            kubernetes_validate.validate(object, version, strict=True)
    names = [(object["kind"], object["metadata"]["name"]) for object in objects]
    same("names", len(names), len(set(names)))
    workloads = [object for object in objects if object["kind"] in WORKLOADS]
    same("workloads", len(workloads), count)
    for workload in workloads:
        if workload["metadata"]["name"] == "weir-etcd":
            check_etcd(workload, kustomization)
        else:
            check_pod(workload, configs, kustomization)
    for object in objects:
        check_references(object, objects, workloads)


def check_shared(directory, objects, configs, kustomization):
    """The overlay in which processes of control share a log in etcd."""
    overlay, own = read(directory)
    patched = overlaid(directory, objects)
    replaced = {(object["kind"], object["metadata"]["name"]) for object in patched}
    kept = [o for o in objects if (o["kind"], o["metadata"]["name"]) not in replaced]
    shared = kept + patched + own
    configs = configs | generated(directory, overlay)
    images = {"images": kustomization["images"] + overlay["images"]}
    check(shared, 4, configs, images)
    etcd, control = find(shared, "StatefulSet", "weir-etcd"), find(shared, "StatefulSet", "weir-control")
    members = [f"weir-etcd-{n}" for n in range(etcd["spec"]["replicas"])]
    config = configs["weir-control"]["control.toml"]["control"]
    urls = [f"http://{member}.weir-etcd:2379" for member in members]
    same("the members that control asks", config["etcd"]["endpoints"], urls)
    peers = ",".join(f"{member}=http://{member}.weir-etcd:2380" for member in members)
    args = etcd["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"--initial-cluster={peers}" in args, args
    env = control["spec"]["template"]["spec"]["containers"][0]["env"]
    advertised = next(e["value"] for e in env if e["name"] == "WEIR_CONTROL__ETCD__ADVERTISE")
    same("advertised", advertised, f"http://$(POD_NAME).{control['spec']['serviceName']}:9090")
    # Names of pods come from a service without an address.
    for name in (control["spec"]["serviceName"], etcd["spec"]["serviceName"]):
        same(name, find(shared, "Service", name)["spec"]["clusterIP"], "None")
    return shared


def check_relays(directory, objects, configs, kustomization):
    """The overlay in which edges follow control through their parents."""
    (edge,) = overlaid(directory, objects)
    relayed = [object for object in objects if (object["kind"], object["metadata"]["name"]) != ("Deployment", "weir-edge")]
    relayed.append(edge)
    check(relayed, 3, configs, kustomization)
    env = edge["spec"]["template"]["spec"]["containers"][0]["env"]
    same("via", [e["value"] for e in env if e["name"] == "WEIR_CONTROL__VIA"], ["parents"])
    config = configs["weir-edge"]["edge.toml"]
    assert config["parents"]["urls"] and "via" not in config["control"], "edges have parents to follow"
    # The edge reaches both: it joins at control, and each parent takes it.
    assert configs["weir-parent"]["parent.toml"]["control"].get("relay_edges", 1000) > 0, "relay_edges"
    for component in ("control", "parent"):
        policy = find(relayed, "NetworkPolicy", f"weir-{component}")
        labels = edge["spec"]["template"]["metadata"]["labels"]
        froms = [peer for rule in policy["spec"]["ingress"] for peer in rule["from"] if set(peer) == {"podSelector"}]
        assert any(peer["podSelector"]["matchLabels"].items() <= labels.items() for peer in froms), component


def check_etcd(workload, kustomization):
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] in {image["name"] for image in kustomization["images"]}
    assert pod["securityContext"]["runAsNonRoot"], "etcd: its user"
    assert container["securityContext"]["readOnlyRootFilesystem"], "etcd: its files"
    data = next(arg for arg in container["args"] if arg.startswith("--data-dir=")).split("=")[1]
    (mount,) = container["volumeMounts"]
    assert data.startswith(mount["mountPath"] + "/"), data
    claims = [claim["metadata"]["name"] for claim in workload["spec"]["volumeClaimTemplates"]]
    same("etcd: claims", claims, [mount["name"]])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert container["livenessProbe"]["tcpSocket"]["port"] in ports, "etcd: livenessProbe"
    for name, port in ports.items():
        kind = "metrics" if name == "metrics" else name
        assert f"--listen-{kind}-urls=http://0.0.0.0:{port}" in container["args"], name


def overlaid(directory, objects):
    """The objects of the base that the overlay changes, as they are then."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    made = []
    for patch in kustomization["patches"]:
        target = patch["target"]
        base = find(objects, target["kind"], target["name"])
        assert base, f"the overlay patches {target}, which is not there"
        steps = yaml.safe_load(patch["patch"])
        if isinstance(steps, dict):
            same("a patch that deletes", steps["$patch"], "delete")
            continue
        object = yaml.safe_load(yaml.safe_dump(base))
        for step in steps:
            *path, last = step["path"].strip("/").split("/")
            place = object
            for part in path:
                place = place[int(part) if isinstance(place, list) else part]
            if isinstance(place, list):
                if step["op"] == "add":
                    same(f"{step['path']}: where", last, "-")
                    place.append(step["value"])
                else:
                    same(f"{step['path']}: op", step["op"], "remove")
                    del place[int(last)]
                continue
            if step["op"] in ("remove", "replace"):
                del place[last]
            if step["op"] in ("add", "replace"):
                place[last] = step["value"]
        made.append(object)
    return made


def generated(base, kustomization):
    """The maps that are generated from files, parsed, by name."""
    maps = {}
    for generator in kustomization["configMapGenerator"]:
        files = [base / file for file in generator["files"]]
        maps[generator["name"]] = {file.name: tomllib.loads(file.read_text()) for file in files}
    return maps


def check_pod(workload, configs, kustomization):
    template = workload["spec"]["template"]
    name, pod = workload["metadata"]["name"], template["spec"]
    same(f"{name}: labels", template["metadata"]["labels"], workload["spec"]["selector"]["matchLabels"])
    user = pod["securityContext"]
    assert user["runAsNonRoot"] and user["runAsUser"] == user["fsGroup"] == 65532, name
    same(f"{name}: seccomp", user["seccompProfile"]["type"], "RuntimeDefault")
    same(f"{name}: service account", pod["automountServiceAccountToken"], False)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    claims = {
        claim["metadata"]["name"]: quantity(claim["spec"]["resources"]["requests"]["storage"])
        for claim in workload["spec"].get("volumeClaimTemplates", [])
    }
    secrets = {file for volume in volumes.values() if "secret" in volume for file in ["weir-tokens"]}
    same(f"{name}: secrets", secrets, {"weir-tokens"})
    for container in pod["containers"]:
        images = {image["name"] for image in kustomization["images"]}
        assert container["image"] in images, container["image"]
        hardened = container["securityContext"]
        assert hardened["readOnlyRootFilesystem"] and not hardened["allowPrivilegeEscalation"], name
        same(f"{name}: capabilities", hardened["capabilities"], {"drop": ["ALL"]})
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        same(f"{name}: mounts", set(mounts), set(volumes) | set(claims))
        # What the program is told to read is mounted.
        config = Path(container["args"][-1].removeprefix("--config="))
        same(f"{name}: configuration", str(config.parent), mounts["config"]["mountPath"])
        parsed = configs[volumes["config"]["configMap"]["name"]][config.name]
        check_config(name, parsed, container, mounts, volumes, claims)


def check_config(name, config, container, mounts, volumes, claims):
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports, f"{name}: {probe}"
        assert container[probe]["httpGet"]["path"] in ("/healthz", "/readyz"), f"{name}: {probe}"
    control = "node" not in config
    listens = config["control"]["listen"] if control else config["node"]["admin"]
    same(f"{name}: {listens}", listens, f"0.0.0.0:{ports['control' if control else 'admin']}")
    files = [token["secret_file"] for token in config["token"]]
    files += [config["control"]["token_file"]] if not control else []
    tokens = {Path(file).name for file in files}
    for file in files:
        same(f"{name}: {file}", str(Path(file).parent), mounts["tokens"]["mountPath"])
    # The operator's token is control's alone.
    same(f"{name}: tokens", tokens, {"node", "metrics"} | ({"operator"} if control else set()))
    items = volumes["tokens"]["secret"].get("items", [])
    same(f"{name}: mounted", {item["key"] for item in items}, set() if control else tokens)
    if control and config["control"].get("log") == "etcd":
        assert "data" not in mounts and "data" not in config["control"], f"{name}: data"
    elif control:
        same(f"{name}: data", config["control"]["data"], mounts["data"]["mountPath"])
    else:
        assert not mounts["state"].get("readOnly") and not mounts["spool"].get("readOnly"), name
        same(f"{name}: spool", config["spool"]["path"], mounts["spool"]["mountPath"])
        limit = quantity(volumes["spool"]["emptyDir"]["sizeLimit"])
        assert limit > quantity(config["spool"]["size"].removesuffix("B")), f"{name}: sizeLimit"
        asked = container["resources"]["requests"]["ephemeral-storage"]
        assert quantity(asked) >= limit, f"{name}: ephemeral-storage"
    same(f"{name}: has a disk", "disk" in config, name == "weir-parent")
    if "disk" in config:
        same(f"{name}: disk", config["disk"]["path"], mounts["disk"]["mountPath"])
        assert claims["disk"] > quantity(config["disk"]["size"].removesuffix("B")), f"{name}: disk.size"
    named = [env for env in container["env"] if env["name"] == "WEIR_NODE__NAME"]
    same(f"{name}: named after its pod", len(named), 0 if control else 1)


def quantity(text):
    """Bytes, of a number of Mi or Gi."""
    return int(text[:-2]) * {"Mi": 1 << 20, "Gi": 1 << 30}[text[-2:]]


def check_references(object, objects, workloads):
    kind, name, spec = object["kind"], object["metadata"]["name"], object.get("spec", {})
    if kind == "Service":
        pod = selected(spec["selector"], workloads, f"{kind} {name}")
        ports = {port["name"] for container in pod["containers"] for port in container["ports"]}
        for port in spec["ports"]:
            assert port["targetPort"] in ports, f"{kind} {name}: {port}"
    elif kind == "PodDisruptionBudget":
        selected(spec["selector"]["matchLabels"], workloads, f"{kind} {name}")
    elif kind == "HorizontalPodAutoscaler":
        target = spec["scaleTargetRef"]
        assert find(objects, target["kind"], target["name"]), f"{kind} {name}: {target}"
    elif kind == "StatefulSet":
        assert find(objects, "Service", spec["serviceName"]), f"{kind} {name}: its service"
    elif kind == "NetworkPolicy":
        pod = selected(spec["podSelector"]["matchLabels"], workloads, f"{kind} {name}")
        ports = {port["name"] for container in pod["containers"] for port in container["ports"]}
        named = {port["port"] for rule in spec["ingress"] for port in rule["ports"]}
        same(f"{kind} {name}: ports", named, ports)
        for rule in spec.get("egress", []):
            for to in rule.get("to", []):
                pod = selected(to["podSelector"]["matchLabels"], workloads, f"{kind} {name}: egress")
                ports = {port["name"] for container in pod["containers"] for port in container["ports"]}
                assert {port["port"] for port in rule["ports"]} <= ports, f"{kind} {name}: egress"


def selected(labels, workloads, who):
    """The pod that these labels select: of one workload, or of one and its variant."""
    found = [
        workload
        for workload in workloads
        if labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert found, f"{who} selects nothing by {labels}"
    same(f"{who}: selected", {w["metadata"]["name"] for w in found}, {found[0]["metadata"]["name"]})
    return found[0]["spec"]["template"]["spec"]


def find(objects, kind, name):
    return next((o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)), None)


def same(what, one, other):
    assert one == other, f"{what}: {one} is not {other}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
