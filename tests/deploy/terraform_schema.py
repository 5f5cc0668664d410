"""Holds Terraform files to the AWS provider's real schema, without the provider.

    terraform_schema.py JSII FOLDER

JSII is `.jsii` of the npm package @cdktf/provider-aws, generated from the provider: it names every
resource and data source with its arguments, blocks and what of them is needed. Values and references
are not looked at. Prints what is unknown or missing; status 1 if anything is.
"""

import json
import pathlib
import re
import sys

import hcl2

PACKAGE = "@cdktf/provider-aws."
# Arguments of Terraform itself.
META = {"count", "depends_on", "for_each", "lifecycle", "provider", "provisioner", "connection", "timeouts"}


class Schema:
    def __init__(self, path):
        self.types = json.loads(path.read_text())["types"]
        self.configs = {}
        for name, kind in self.types.items():
            # The class of a resource takes its arguments as `config`; its text names it in Terraform.
            parameters = kind.get("initializer", {}).get("parameters", [])
            config = next((it["type"].get("fqn") for it in parameters if it["name"] == "config"), None)
            about = re.search(r"\b(aws_[a-z0-9_]+)\b", json.dumps(kind.get("docs", {})))
            if config and about:
                is_data = re.search(r"\.data[A-Z]", name)
                self.configs[about[1], "data" if is_data else "resource"] = config

    def arguments(self, config):
        """Each argument's name, whether it is needed, and the type of its block if it is one."""
        arguments = {}
        for argument in self.types[config].get("properties", []):
            about = json.dumps(argument.get("docs", {}))
            anchor = re.search(r"#([a-z0-9_]+)\s*\}", about)
            name = anchor[1] if anchor else snake(argument["name"])
            blocks = re.findall(r'"fqn": "([^"]+)"', json.dumps(argument["type"]))
            block = next((it for it in blocks if it.startswith(PACKAGE)), None)
            arguments[name] = (not argument.get("optional", False), block)
        return arguments


def snake(name):
    return re.sub(r"([A-Z0-9]*[A-Z][0-9]*)", lambda found: "_" + found[1].lower(), name)


def plain(body):
    """The body with its keys as they were written."""
    return {key.strip('"'): value for key, value in body.items() if not key.strip('"').startswith("__")}


def findings(schema, place, config, body):
    body = plain(body)
    dynamic = {}
    for block in body.pop("dynamic", []):
        for name, inner in plain(block).items():
            dynamic[name] = [it["content"][0] if isinstance(it["content"], list) else it["content"]
                             for it in ([inner] if isinstance(inner, dict) else inner)]
    arguments = schema.arguments(config)
    for name, value in {**body, **dynamic}.items():
        if name in META:
            continue
        if name not in arguments:
            yield f"{place}: unknown argument {name}"
            continue
        block = arguments[name][1]
        if block and isinstance(value, list):
            for inner in value:
                if isinstance(inner, dict):
                    yield from findings(schema, f"{place}.{name}", block, inner)
    for name, (needed, _) in arguments.items():
        if needed and name not in body and name not in dynamic:
            yield f"{place}: missing argument {name}"


def main():
    schema = Schema(pathlib.Path(sys.argv[1]))
    found, looked_at = [], 0
    for path in sorted(pathlib.Path(sys.argv[2]).rglob("*.tf")):
        with path.open() as file:
            module = hcl2.load(file)
        for kind in ("resource", "data"):
            for entry in module.get(kind, []):
                for type_name, named in plain(entry).items():
                    for name, body in plain(named).items():
                        looked_at += 1
                        place = f"{path}: {type_name}.{name}"
                        config = schema.configs.get((type_name, kind))
                        if config is None:
                            found.append(f"{place}: unknown {kind}")
                        else:
                            found += findings(schema, place, config, body)
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{looked_at} resources and data sources, {len(found)} findings")
    # Nothing to look at is a mistake too.
    return 1 if found or not looked_at else 0


sys.exit(main())
