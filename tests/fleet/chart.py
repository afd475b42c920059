"""Renders, validates and judges the chart: `ok` and `not ok` lines. See tests/fleet/check."""

import json
import os
import subprocess
import sys
import tempfile

import helm_python
import kubernetes_validate
import yaml

sys.dont_write_bytecode = True

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CHART = f"{ROOT}/deploy/helm/agentsh"
RENDERED = f"{HERE}/rendered"
# The oldest that the chart allows, and the newest that there is.
VERSIONS = ("1.30", "1.37")
# What is wrong with values, and what helm says of it.
WRONG = (
    ("maxLeaves: 249", "maxLeaves"),
    ("maxLeaves: many", "maxLeaves"),
    ("dedicated: 'yes'", "dedicated"),
    ("nodeselector: {a: b}", "nodeselector"),
    ("host: {cgroup: sys/fs/cgroup, bpf: /sys/fs/bpf, run: /run/agentsh}", "cgroup"),
    ("policy: {session: {max_leaves: 1000}}", "policy"),
    ("policy: {clases: {}}", "clases"),
    ("metrics: {enabled: true, port: 80}", "port"),
    ("example: {way: none}", "way"),
    ("dedicated: true", "nodeSelector"),
    ("example: {enabled: true, way: writable-cgroup}", "runtimeClass.create"),
    ("watch: 'yes'", "watch"),
    ("{watch: false, example: {enabled: true, way: annotation}}", "needs watch"),
)
# A pod of 250 cgroups holds calls, agent/ and calls/.
DESCENDANTS = 250
failed = 0


def report(name, good, detail=""):
    """One line of the result."""
    global failed
    failed += not good
    print(f"ok {name}" if good else f"not ok {name}: {detail}", flush=True)


def run(*words, **options):
    """Runs a command to its end."""
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, **options)


def render(values):
    """The objects that come out for these values, and what helm has against them."""
    try:
        chart = helm_python.Chart.load(CHART)
        chart.validate_schema(chart.merge_values(values))
        texts = chart.render(values, name="fleet", namespace="agentsh", is_install=True)
    except helm_python.HelmError as error:
        return [], str(error)
    manifests = [text for name, text in sorted(texts.items()) if name.endswith(".yaml")]
    return [thing for text in manifests for thing in yaml.safe_load_all(text) if thing], ""


def taken(thing, version):
    """What Kubernetes of this version has against it: nothing, if it takes it. Fields that it doesn't know count."""
    try:
        kubernetes_validate.validate(thing, version, strict=True)
    except Exception as error:  # pylint: disable=broad-except
        return f"{type(error).__name__}: {error}"
    return ""


def of_kind(things, kind):
    """The one of this kind, or nothing."""
    return next((it for it in things if it["kind"] == kind), None)


def judge(name, things, given, ctl):
    """Is it what the values ask for?"""
    daemons = of_kind(things, "DaemonSet")["spec"]["template"]
    pod = daemons["spec"]
    containers = {it["name"]: it for it in [*pod["initContainers"], *pod["containers"]]}
    dedicated, metrics = given.get("dedicated", False), given.get("metrics", {}).get("enabled", False)
    load = containers["load"]["command"]
    report(f"{name}: the scheduler is loaded on dedicated nodes and nowhere else", load[-2:] == ["--scheduler", "whole-machine" if dedicated else "off"], load)
    report(f"{name}: which are chosen", bool(pod.get("nodeSelector")) or not dedicated, pod)
    scraped = daemons["metadata"]["annotations"].get("prometheus.io/scrape") == "true"
    answers = "--metrics" in containers["serve"]["command"]
    report(f"{name}: what is to be scraped is there, and the other way round", scraped == answers == metrics, (scraped, answers, metrics))
    watches = "--watch" in containers["serve"]["command"]
    report(f"{name}: containers with the annotation are looked for unless that is switched off", watches == given.get("watch", True), watches)
    powers = [it["securityContext"] for it in containers.values()]
    report(f"{name}: no container is privileged, each has all powers dropped but those it names",
           all(it["capabilities"]["drop"] == ["ALL"] and not it.get("privileged") for it in powers), powers)
    report(f"{name}: nothing of the API is given to it", pod["automountServiceAccountToken"] is False and not of_kind(things, "ClusterRole"), pod)
    policy = of_kind(things, "ConfigMap")["data"]["fleet.yaml"]
    leaves = yaml.safe_load(policy)["session"]["max_leaves"]
    report(f"{name}: its calls fit into a pod's {DESCENDANTS} cgroups", leaves + 2 <= DESCENDANTS, leaves)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(policy)
        file.flush()
        checked = run(ctl, "policy", "check", file.name)
    report(f"{name}: its policy is a valid one", checked.returncode == 0, checked.stdout + checked.stderr)
    example = of_kind(things, "Pod")
    report(f"{name}: the example is there if it is asked for", bool(example) == given.get("example", {}).get("enabled", False), example)
    if example:
        wants = example["metadata"].get("annotations", {}).get("agentsh") == "attach"
        mounts = any("hostPath" in volume for volume in example["spec"]["volumes"])
        way = given["example"].get("way", "attach")
        report(f"{name}: the example asks in the way that was chosen", (wants, mounts) == (way == "annotation", way == "attach"), example)
    mounted = {volume["name"] for volume in pod["volumes"]}
    used = {mount["name"] for it in containers.values() for mount in it["volumeMounts"]}
    report(f"{name}: every volume is mounted, every mount has one", mounted == used, mounted ^ used)


def same_as_kept(name, things, write):
    """The VM runs what is kept; it must be what helm renders today."""
    path = f"{RENDERED}/{name}.json"
    text = json.dumps(things, indent=1, sort_keys=True) + "\n"
    if write:
        os.makedirs(RENDERED, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    kept = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            kept = file.read()
    report(f"{name}: tests/fleet/rendered has it as it is rendered", kept == text, "tests/fleet/check BINARIES --write renews it")


def sandbox():
    """The example for agent-sandbox: what in it is Kubernetes' own. The definition of the rest is in no registry that has to be there."""
    with open(f"{ROOT}/deploy/agent-sandbox/sandbox.yaml", encoding="utf-8") as file:
        example = yaml.safe_load(file)
    spec = example["spec"]
    report("agent-sandbox: the example is a Sandbox", (example["apiVersion"], example["kind"]) == ("agents.x-k8s.io/v1beta1", "Sandbox"), example)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent"}, "spec": spec["podTemplate"]["spec"]}
    # The controller adds the volumes of the claims.
    report("agent-sandbox: its pod is one", not taken(pod, VERSIONS[-1]), taken(pod, VERSIONS[-1]))
    for claim in spec["volumeClaimTemplates"]:
        thing = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim}
        report("agent-sandbox: and its claim is one", not taken(thing, VERSIONS[-1]), taken(thing, VERSIONS[-1]))


def main(binaries, *options):
    """All of it."""
    print(f"# helm {helm_python.helm_sdk_version()}", flush=True)
    names = sorted(it.removesuffix("-values.yaml") for it in os.listdir(f"{CHART}/ci"))
    report("three values files are tried", len(names) >= 3, names)
    for name in names:
        with open(f"{CHART}/ci/{name}-values.yaml", encoding="utf-8") as file:
            given = yaml.safe_load(file)
        linted = helm_python.lint(CHART, given, strict=True, namespace="agentsh", kube_version=f"v{VERSIONS[-1]}.0")
        bad = [it for it in linted["messages"] if it["severity"] >= 2] + linted["errors"]
        report(f"{name}: helm lint has nothing against it", linted["total_charts_linted"] == 1 and not bad, linted)
        things, said = render(given)
        report(f"{name}: it is rendered", len(things) >= 3, said)
        for version in VERSIONS:
            bad = [f"{it['kind']}: {why}" for it in things if (why := taken(it, version))]
            report(f"{name}: Kubernetes {version} takes all {len(things)} objects", not bad and bool(things), bad)
        if things:
            judge(name, things, given, f"{binaries}/agentshctl")
            same_as_kept(name, things, "--write" in options)
    things, _ = render({})
    of_kind(things, "DaemonSet")["spec"]["template"]["spec"]["hostPid"] = True
    report("a misspelt field isn't taken", bool(taken(of_kind(things, "DaemonSet"), VERSIONS[-1])))
    for text, part in WRONG:
        things, said = render(yaml.safe_load(text))
        report(f"values that are wrong are refused: {text}", not things and part in said, said or things)
    sandbox()
    sys.exit(failed > 0)


main(*sys.argv[1:])
