#!/usr/bin/env python3
"""The crates that are linked into the programs: their licences, and a bill of materials (CycloneDX).

Reads the locked dependencies from cargo, and the texts of the licences from the sources of the crates. The output
depends on nothing else, and has no times.
"""
import argparse
import json
import pathlib
import re
import subprocess

PROGRAMS = ("rookery", "rookery-loadtest")
# At the top of a crate, or of a library within it (RocksDB, LZ4).
FILES = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)([-._].*)?", re.IGNORECASE)
NO_TEXTS = {".rs", ".py", ".toml", ".json", ".html", ".sh", ".h", ".c", ".cc"}


def linked(target):
    """Returns the packages that the programs depend on for this target, without those for builds and tests only."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    own = set(metadata["workspace_members"])
    found, todo = set(), [id for id in own if packages[id]["name"] in PROGRAMS]
    while todo:
        id = todo.pop()
        if id in found:
            continue
        found.add(id)
        for dep in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dep["dep_kinds"]):
                todo.append(dep["pkg"])
    versions = [packages[id]["version"] for id in own if packages[id]["name"] == PROGRAMS[0]]
    foreign = [packages[id] for id in found - own]
    return versions[0], sorted(foreign, key=lambda package: (package["name"], package["version"]))


def texts(package):
    """Yields the licence texts in the sources of a package."""
    folder = pathlib.Path(package["manifest_path"]).parent
    for pattern in ("*", "*/*"):
        for file in sorted(folder.glob(pattern)):
            if FILES.fullmatch(file.name) and file.suffix not in NO_TEXTS and file.is_file():
                yield file.read_text(encoding="utf-8", errors="replace").strip()


def licenses(packages):
    lines = ["Rookery contains the following crates, each under its own licence. Their texts are below.", ""]
    by_text = {}
    for package in packages:
        label = f"{package['name']} {package['version']}"
        lines.append(f"{label}: {package['license'] or 'see its text'}")
        for text in texts(package):
            # Copies of one text differ in their line breaks.
            users = by_text.setdefault(" ".join(text.split()), (text, []))[1]
            if label not in users:
                users.append(label)
    for text, users in by_text.values():
        lines += ["", "=" * 80, ", ".join(users), "-" * 80, text]
    return "\n".join(lines) + "\n"


def bill(version, packages):
    def component(package):
        name, number = package["name"], package["version"]
        entry = {"type": "library", "name": name, "version": number, "purl": f"pkg:cargo/{name}@{number}"}
        if package["license"]:
            # Crates from before SPDX expressions separate alternatives by a slash.
            expression = re.sub(r"\s*/\s*", " OR ", package["license"])
            entry["licenses"] = [{"expression": expression}]
        return entry

    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "rookery", "version": version}},
        "components": [component(package) for package in packages],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True, help="the triple, as of `rustc -vV`")
    parser.add_argument("--licenses", required=True, help="the file for the licences")
    parser.add_argument("--sbom", required=True, help="the file for the bill of materials")
    args = parser.parse_args()
    version, packages = linked(args.target)
    pathlib.Path(args.licenses).write_text(licenses(packages), encoding="utf-8")
    pathlib.Path(args.sbom).write_text(json.dumps(bill(version, packages), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
