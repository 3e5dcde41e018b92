#!/usr/bin/env python3
"""Checks of deploy/ that no tool has. scripts/check-deploy.sh runs them, with PyYAML.

    deploy-checks.py TREE compose           names and files that compose.yaml refers to
    deploy-checks.py TREE alerts            each alert has a test that fires it, and one that keeps it quiet
    deploy-checks.py TREE metrics FILE OUT  dashboard and rules against the metrics in FILE; expressions as rules in OUT
    deploy-checks.py TREE settings          variables ROOKERY_… name settings
    deploy-checks.py TREE copies [write]    the alerts of Kustomize are those of Prometheus
    deploy-checks.py TREE grafana           files with which Grafana is provisioned

TREE is a folder with deploy/ and config/. Prints the problems, and fails if there are any.
"""

import json
import re
import sys
from pathlib import Path

import yaml

problems = []


def complain(file, what):
    problems.append(f"{file}: {what}")


def read_yaml(tree, file):
    return yaml.safe_load((tree / file).read_text())


# --- compose.


def compose(tree):
    file = "deploy/compose/compose.yaml"
    doc = read_yaml(tree, file)
    here = tree / "deploy/compose"
    for name, service in doc["services"].items():
        for other in service.get("depends_on", []):
            if other not in doc["services"]:
                complain(file, f"{name} depends on {other}, which is no service")
        for network in service.get("networks", []):
            if network not in doc["networks"]:
                complain(file, f"{name} is on {network}, which is no network")
        for secret in service.get("secrets", []):
            if secret["source"] not in doc["secrets"]:
                complain(file, f"{name} has {secret['source']}, which is no secret")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                if not (here / source).exists():
                    complain(file, f"{name} mounts {source}, which does not exist")
            elif source not in doc["volumes"]:
                complain(file, f"{name} mounts {source}, which is no volume")
        image = service.get("image", "")
        if ":" not in image or image.endswith(":latest"):
            complain(file, f"{name} has an image without a version: {image}")
        for key in ("mem_limit", "cpus", "pids_limit"):
            if key not in service:
                complain(file, f"{name} has no {key}")
        if service.get("cap_drop") != ["ALL"]:
            complain(file, f"{name} keeps capabilities")
        if "no-new-privileges:true" not in service.get("security_opt", []):
            complain(file, f"{name} may gain privileges")
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                complain(file, f"{name} publishes {port} beyond this machine")
        if name.startswith("node") and service.get("stop_grace_period") != "60s":
            complain(file, f"{name} has less than 60 s to drain")
    # What the proxy and the monitor are told.
    nodes = {name for name in doc["services"] if name.startswith("node")}
    servers = set(re.findall(r"^\s*server \S+ (\w+):8080$", (here / "haproxy.cfg").read_text(), re.M))
    if servers != nodes:
        complain("deploy/compose/haproxy.cfg", f"servers {sorted(servers)} for nodes {sorted(nodes)}")
    prometheus = read_yaml(tree, "deploy/compose/prometheus.yaml")
    targets = prometheus["scrape_configs"][0]["static_configs"][0]["targets"]
    if {target.split(":")[0] for target in targets} != nodes:
        complain("deploy/compose/prometheus.yaml", f"targets {targets} for nodes {sorted(nodes)}")


# --- alerts.


def words(expression):
    return set(re.findall(r"\b(?:rookery_[a-z0-9_]+|up)\b", expression))


def alerts(tree):
    # That each alert has its section in docs/operations.md is a test in node/tests/gateway.
    file = "deploy/prometheus/rules_test.yaml"
    rules = read_yaml(tree, "deploy/prometheus/rules.yaml")["groups"][0]["rules"]
    tests = read_yaml(tree, file)["tests"]
    quiet = [test for test in tests if test["name"].startswith("a healthy cluster")]
    if len(quiet) != 1:
        complain(file, "not one test of a healthy cluster")
        return
    quiet = quiet[0]
    checks = quiet["promql_expr_test"]
    silent = 'count(ALERTS{alertstate="firing"}) or vector(0)'
    if len(checks) < 3 or any(
        check["expr"] != silent or check["exp_samples"] != [{"value": 0}] for check in checks
    ):
        complain(file, "the healthy cluster's test does not say that nothing fires")
    fed = set().union(*(words(series["series"]) for series in quiet["input_series"]))
    for rule in rules:
        name = rule["alert"]
        expected = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
        fires = [
            check
            for test in tests
            if test["name"].split(":")[0] == name
            for check in test["promql_expr_test"]
            if check["expr"] == expected and check["exp_samples"] == [{"value": 1}]
        ]
        if not fires:
            complain(file, f"no test fires {name}")
        missing = words(rule["expr"]) - fed
        if missing:
            complain(file, f"{name} is not tried on a healthy cluster: no series of {sorted(missing)}")


# --- dashboard and metrics.


def exposed(text):
    """Returns the names of families and samples, with the labels of the samples."""
    names = {"up": {"job", "instance"}}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            names.setdefault(line.split()[2], set())
        elif line and not line.startswith("#"):
            name = re.split(r"[{ ]", line)[0]
            names.setdefault(name, set()).update(re.findall(r'[{,](\w+)="', line))
    return names


def metrics(tree, shown_file, out):
    shown = exposed(Path(shown_file).read_text())
    file = "deploy/grafana/rookery.json"
    expressions = []
    board = json.loads((tree / file).read_text())
    ids = set()
    for panel in board["panels"]:
        title = panel.get("title") or "(no title)"
        if panel["id"] in ids:
            complain(file, f"{title}: the id {panel['id']} is taken")
        ids.add(panel["id"])
        if panel["type"] == "row":
            continue
        if not panel.get("description"):
            complain(file, f"{title}: no description")
        if not panel["fieldConfig"]["defaults"].get("unit"):
            complain(file, f"{title}: no unit")
        if not panel["targets"]:
            complain(file, f"{title}: no query")
        for part in (panel, *panel["targets"]):
            if part["datasource"]["uid"] != "${datasource}":
                complain(file, f"{title}: a data source of its own")
        for target in panel["targets"]:
            if "$job" not in target["expr"]:
                complain(file, f"{title}: not limited to the job")
            expressions.append((file, title, target["expr"]))
    if not expressions:
        complain(file, "no panel has a query")
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            expressions.append((file, variable["name"], re.search(r"\((.*), \w+\)", variable["definition"])[1]))
    file = "deploy/prometheus/rules.yaml"
    for rule in read_yaml(tree, file)["groups"][0]["rules"]:
        expressions.append((file, rule["alert"], rule["expr"]))
    for file, title, expression in expressions:
        used = words(expression)
        if not used:
            complain(file, f"{title}: names no metric")
        for name in used - shown.keys():
            complain(file, f"{title}: no metric is named {name}")
        # Labels in a selector. A family without a sample has none yet.
        for name, selector in re.findall(r"\b(rookery_[a-z0-9_]+)\{([^}]*)\}", expression):
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector):
                if label not in ("job", "instance") and shown.get(name) and label not in shown[name]:
                    complain(file, f"{title}: {name} has no label {label}")
    # promtool checks the syntax of rules, so every expression becomes one.
    values = {"$__rate_interval": "1m", "$job": "rookery", "$instance": ".*"}
    rules = []
    for number, (_, _, expression) in enumerate(expressions):
        for name, value in values.items():
            expression = expression.replace(name, value)
        rules.append({"record": f"panel:{number}", "expr": expression})
    Path(out).write_text(yaml.safe_dump({"groups": [{"name": "expressions", "rules": rules}]}))


# --- settings.

def settings(tree):
    known, section = set(), ""
    for line in (tree / "config/node.example.toml").read_text().splitlines():
        if match := re.fullmatch(r"\[([a-z_.]+)\]", line):
            section = match[1]
        elif match := re.match(r"# ([a-z_]+) = ", line):
            known.add(f"{section}.{match[1]}")
    if len(known) < 50:
        complain("config/node.example.toml", f"only {len(known)} settings found")
    files = ["deploy/docker/Dockerfile", "deploy/compose/compose.yaml", "deploy/kustomize/base/statefulset.yaml",
             "deploy/kustomize/example/kustomization.yaml", "deploy/helm/rookery/templates/statefulset.yaml"]
    for file in files:
        for name in re.findall(r"\bROOKERY_([A-Z]+__[A-Z_]*[A-Z])\b", (tree / file).read_text()):
            setting = name.lower().replace("__", ".")
            if setting not in known:
                complain(file, f"ROOKERY_{name} names no setting")


# --- copies.


def copies(tree, write=False):
    file = tree / "deploy/kustomize/monitoring/prometheusrule.yaml"
    source = (tree / "deploy/prometheus/rules.yaml").read_text()
    head = (
        "# ../../prometheus/rules.yaml for the Prometheus operator. Written by `scripts/check-deploy.sh --write`.\n"
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: rookery\nspec:\n"
    )
    groups = source[source.index("groups:") :].splitlines(keepends=True)
    text = head + "".join("  " + line if line.strip() else line for line in groups)
    if write:
        file.write_text(text)
    elif file.read_text() != text:
        complain(file.relative_to(tree), "is not that of rules.yaml: scripts/check-deploy.sh --write")
    for link, target in (("rules.yaml", "prometheus/rules.yaml"), ("rookery.json", "grafana/rookery.json")):
        path = tree / "deploy/helm/rookery/files" / link
        if not path.exists() or path.resolve() != (tree / "deploy" / target).resolve():
            complain(path.relative_to(tree), f"is no link to deploy/{target}")


# --- provisioning of Grafana.


def grafana(tree):
    file = "deploy/compose/grafana/datasources/prometheus.yaml"
    keys = {"name", "uid", "type", "access", "url", "isDefault", "jsonData"}
    doc = read_yaml(tree, file)
    for source in doc.get("datasources") or [{}]:
        if set(source) != keys or source["type"] != "prometheus":
            complain(file, f"not the keys {sorted(keys)}: {sorted(source)}")
        elif source["url"] != "http://prometheus:9090":
            complain(file, f"no service of compose.yaml: {source['url']}")
    file = "deploy/compose/grafana/dashboards/rookery.yaml"
    doc = read_yaml(tree, file)
    keys = {"name", "type", "allowUiUpdates", "options"}
    mounts = read_yaml(tree, "deploy/compose/compose.yaml")["services"]["grafana"]["volumes"]
    for provider in doc.get("providers") or [{}]:
        if set(provider) != keys or provider["type"] != "file":
            complain(file, f"not the keys {sorted(keys)}: {sorted(provider)}")
        elif f"../grafana:{provider['options']['path']}:ro" not in mounts:
            complain(file, f"compose.yaml mounts no dashboards at {provider['options']['path']}")


tree = Path(sys.argv[1])
checks = {"compose": compose, "alerts": alerts, "metrics": metrics, "settings": settings, "grafana": grafana}
if sys.argv[2] == "copies":
    copies(tree, write=sys.argv[3:] == ["write"])
else:
    checks[sys.argv[2]](tree, *sys.argv[3:])
for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(1 if problems else 0)
