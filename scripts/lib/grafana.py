"""Grafana's provisioning files and dashboards, held against what Grafana reads (version 1 of the provisioning format)."""

import json
import pathlib
import sys

import yaml

ROOT = pathlib.Path("deploy/grafana")
TEXT, WHOLE, YES = str, int, bool
# What each entry must have, and what else it may have.
DATASOURCE = ({"name": TEXT, "uid": TEXT, "type": TEXT, "access": TEXT, "url": TEXT},
              {"isDefault": YES, "editable": YES, "jsonData": dict})
PROVIDER = ({"name": TEXT, "type": TEXT, "options": dict},
            {"folder": TEXT, "folderUid": TEXT, "orgId": WHOLE, "disableDeletion": YES, "allowUiUpdates": YES,
             "updateIntervalSeconds": WHOLE})
DASHBOARD = ({"uid": TEXT, "title": TEXT, "schemaVersion": WHOLE, "panels": list, "time": dict, "templating": dict,
              "tags": list},
             {"description": TEXT, "editable": YES, "refresh": TEXT, "timezone": TEXT, "links": list, "annotations": dict})
PANEL = ({"id": WHOLE, "type": TEXT, "title": TEXT, "gridPos": dict, "datasource": dict, "targets": list,
          "fieldConfig": dict, "options": dict},
         {"description": TEXT, "transformations": list})
TARGET = ({"refId": TEXT, "datasource": dict, "expr": TEXT, "legendFormat": TEXT}, {"instant": YES, "format": TEXT})
PANEL_KINDS = {"stat", "timeseries", "table", "heatmap"}


def check(where, entry, shape):
    must, may = shape
    for name, kind in must.items():
        if not isinstance(entry.get(name), kind):
            sys.exit(f"{where}: {name} has to be {kind.__name__}")
    for name, value in entry.items():
        if name not in must and (name not in may or not isinstance(value, may[name])):
            sys.exit(f"{where}: {name} is nothing Grafana knows, or of another kind")


def provisioned(folder, key, shape):
    for file in sorted((ROOT / "provisioning" / folder).iterdir()):
        content = yaml.safe_load(file.read_text())
        if set(content) != {"apiVersion", key} or content["apiVersion"] != 1:
            sys.exit(f"{file}: it has to hold apiVersion: 1 and {key}")
        for entry in content[key]:
            check(f"{file}: {entry.get('name')}", entry, shape)
            yield entry


sources = list(provisioned("datasources", "datasources", DATASOURCE))
providers = list(provisioned("dashboards", "providers", PROVIDER))
compose = yaml.safe_load(pathlib.Path("deploy/docker-compose.yml").read_text())["services"]
mounts = dict(mount.split(":")[:2] for mount in compose["grafana"]["volumes"])
places = {provider["options"]["path"] for provider in providers}
if places != {mounts["./grafana/dashboards"]}:
    sys.exit(f"the dashboards are mounted at {mounts['./grafana/dashboards']} and looked for at {places}")
for source in sources:
    host = source["url"].removeprefix("http://").split(":")[0]
    if host not in compose:
        sys.exit(f"the data source {source['name']} is at {host}, which is no service")

for file in sorted((ROOT / "dashboards").glob("*.json")):
    board = json.loads(file.read_text())
    check(file, board, DASHBOARD)
    taken = set()
    for panel in board["panels"]:
        where = f"{file}: {panel.get('title')}"
        check(where, panel, PANEL)
        if panel["type"] not in PANEL_KINDS:
            sys.exit(f"{where}: {panel['type']} is no kind of panel we use")
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        if cells & taken:
            sys.exit(f"{where}: it lies over another panel")
        taken |= cells
        for target in panel["targets"]:
            check(where, target, TARGET)
    print(f"{file}: {len(board['panels'])} panels")
