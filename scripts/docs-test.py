"""Executes the fenced blocks of the documents; scripts/docs-test.sh prepares what they need.

The blocks of a page run one after another in one shell: folder and variables stay, as in a reader's terminal. The first
failure ends the run. The info string of a block says how it runs, where that is not plain:

    sh                      runs to its end, without an error
    sh prints="text"        and its output contains the text
    sh until="text"         a program for a terminal: its keyboard ends when the text has appeared
    sh server=8080,8081     the last command is a server: started after the servers before it were stopped, ready when it
                            answers at these ports
    sh beside=9000          the same, beside the servers before it
    sh terminals            each line is a program in a terminal of its own; what is typed in one appears in the others
    sh terminals type="a;b" types the line `a` into the first and `b` into the second before that
    sh terminals notifies=t and then the output of a server contains the text `t`
    python, ts, go          a program that runs to its end
    ts run                  the same, on a page whose other blocks are only compiled

A page that starts no server finds a node for development at 127.0.0.1:8080.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path.cwd()
# Pages whose blocks run in the folders of others: the servers and variables of the first stay for the rest.
RECIPES = ["docs/add-chat.md", *(f"docs/recipes/{name}/README.md" for name in ("node", "react", "python", "go", "rust"))]
# Blocks that another script executes or compiles, beside what they need.
ELSEWHERE = {
    ("docs/socketio.md", "python"): "scripts/clients.sh",
    ("docs/mqtt.md", "python"): "scripts/clients.sh",
    ("sdk/README.md", "ts"): "scripts/sdk.sh",
}
LANGUAGES = ("sh", "python", "ts", "go")
# Records of their day.
RECORDS = ("docs/reports/", "docs/decisions/")
DEADLINE = 90


class Failed(Exception):
    """A block did not do what its page says."""


def until(what, condition, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while not (result := condition()):
        if time.monotonic() > end:
            raise Failed(f"not within {deadline} s: {what}")
        time.sleep(0.05)
    return result


class Block:
    """A fenced block: its language, its attributes, its text and its line."""

    def __init__(self, info, text, line):
        self.language, *attributes = shlex.split(info)
        self.attributes = dict(part.partition("=")[::2] for part in attributes)
        self.text = text
        self.line = line


def blocks(page):
    text = (ROOT / page).read_text()
    for match in re.finditer(r"^```(\w.*)\n((?:.*\n)*?)```$", text, re.M):
        block = Block(match[1], match[2], text.count("\n", 0, match.start()) + 1)
        if block.language in LANGUAGES:
            yield block


class Process:
    """A program with its output in a file, in a process group of its own."""

    def __init__(self, command, cwd, log, keyboard=False):
        self.log = log
        with open(log, "w") as output:
            self.child = subprocess.Popen(
                command,
                cwd=cwd,
                env=ENVIRONMENT,
                stdin=subprocess.PIPE if keyboard else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self):
        return self.log.read_text(errors="replace")

    def type(self, line):
        self.child.stdin.write(f"{line}\n".encode())
        self.child.stdin.flush()

    def failed(self):
        return self.child.poll() not in (None, 0)

    def end(self, sign=signal.SIGINT):
        """Ends the group as Ctrl-C does, and then for good."""
        for kind in (sign, signal.SIGKILL):
            try:
                os.killpg(self.child.pid, kind)
                self.child.wait(DEADLINE)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.child.wait()


class Shell:
    """What stays between the blocks of a page: folder, variables and servers."""

    def __init__(self, folder, work):
        self.folder = folder
        self.work = work
        self.state = work / "variables"
        self.state.touch()
        self.count = 0
        self.servers = []

    def script(self, text, keep=True):
        """A script of a block behind the variables of those before; it keeps its own."""
        self.count += 1
        file = self.work / f"{self.count}.sh"
        lines = ["set -e", f"source {shlex.quote(str(self.state))}", text]
        if keep:
            own = r"declare -[a-zA-Z]*r|declare -[aAi-]+ (BASH|DIRSTACK|FUNCNAME|GROUPS|PIPESTATUS)"
            lines += [
                f"{{ declare -p | grep -vE '^({own})'; declare -f; }} >{shlex.quote(str(self.state))}",
                f"pwd >{shlex.quote(str(self.work / 'folder'))}",
            ]
        file.write_text("\n".join(lines) + "\n")
        return ["bash", str(file)]

    def process(self, text, keep=False, keyboard=False):
        command = self.script(text, keep)
        return Process(command, self.folder, self.work / f"{self.count}.log", keyboard)

    def run(self, process):
        """Waits for the end of a program, which must succeed."""
        until("the end of the block", lambda: process.child.poll() is not None)
        if process.child.returncode != 0:
            raise Failed(f"exit code {process.child.returncode}:\n{process.output()}")
        place = self.work / "folder"
        if place.exists():
            self.folder = Path(place.read_text().strip())

    def serve(self, block, ports, beside):
        if not beside:
            self.stop()
        *before, last = block.text.rstrip("\n").splitlines()
        while before and before[-1].endswith("\\"):
            last = f"{before.pop()}\n{last}"
        if before:
            self.run(self.process("\n".join(before), keep=True))
        server = self.process(f"exec {last}" if "\n" not in last and "=" not in last.split()[0] else last)
        self.servers.append(server)
        for port in ports:
            until(f"port {port} answers:\n{server.output()}", lambda: ready(port, server))

    def stop(self, first=0):
        for server in reversed(self.servers[first:]):
            server.end()
        del self.servers[first:]


def ready(port, server):
    if server.failed():
        raise Failed(f"the server ended:\n{server.output()}")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except urllib.error.HTTPError as error:
        # A receiver of webhooks has no such page, a node that starts says 503.
        return error.code != 503
    except OSError:
        return False


def talk(shell, block):
    """Runs every line in a terminal, and types into each what must appear in all others."""
    lines = [line for line in block.text.splitlines() if line.strip()]
    terminals = [shell.process(f"exec {line}", keyboard=True) for line in lines]
    try:
        first = dict(enumerate(block.attributes.get("type", "").split(";")))
        for index, terminal in enumerate(terminals):
            if first.get(index):
                terminal.type(first[index])
        for index, terminal in enumerate(terminals):
            word = f"line {shell.count}.{index} of {os.getpid()}"
            terminal.type(word)
            for other in terminals:
                if other is terminal:
                    continue

                def appeared(other=other, word=word):
                    if any(one.failed() for one in terminals):
                        raise Failed("a program ended:\n" + "\n".join(one.output() for one in terminals))
                    return word in other.output()

                try:
                    until(f"{word!r} appears", appeared)
                except Failed as failure:
                    outputs = "\n---\n".join(one.output() for one in terminals)
                    raise Failed(f"{failure}\n{outputs}") from None
        if text := block.attributes.get("notifies"):
            until(f"a server prints {text!r}", lambda: any(text in one.output() for one in shell.servers))
        for terminal in terminals:
            terminal.child.stdin.close()
        for terminal in terminals:
            shell.run(terminal)
    finally:
        for terminal in terminals:
            terminal.end()


def execute(shell, block):
    attributes = block.attributes
    if block.language == "python":
        file = shell.work / f"block{block.line}.py"
        file.write_text(block.text)
        process = shell.process(f"exec python3 {file}")
    elif block.language == "ts":
        # Beside the packages of the client, among which it finds its own name.
        file = SDK / f"block{block.line}.ts"
        file.write_text(block.text)
        out = file.with_suffix(".mjs")
        esbuild = ROOT / "sdk/node_modules/.bin/esbuild"
        process = shell.process(f"{esbuild} --log-level=warning --format=esm --outfile={out} {file}; exec node {out}")
    elif block.language == "go":
        file = shell.work / f"block{block.line}.go"
        file.write_text(block.text)
        process = shell.process(f"exec go run {file}")
    elif "server" in attributes or "beside" in attributes:
        ports = (attributes.get("server") or attributes["beside"]).split(",")
        return shell.serve(block, ports, "beside" in attributes)
    elif "terminals" in attributes:
        return talk(shell, block)
    else:
        process = shell.process(block.text, keep=True, keyboard="until" in attributes)
    try:
        if text := attributes.get("until"):
            until(f"the output contains {text!r}", lambda: text in process.output() or process.failed())
            process.child.stdin.close()
        shell.run(process)
    finally:
        process.end()
    for name in ("prints", "until"):
        if (text := attributes.get(name)) and text not in process.output():
            raise Failed(f"the output lacks {text!r}:\n{process.output()}")
    return None


def run_page(shell, page):
    count = 0
    chosen = [one for one in blocks(page) if (page, one.language) not in ELSEWHERE or "run" in one.attributes]
    if chosen and not shell.servers and not any("server" in one.attributes for one in chosen):
        shell.serve(Block("sh server=8080", "rookery dev\n", 0), ["8080"], beside=False)
    for block in chosen:
        began = time.monotonic()
        try:
            execute(shell, block)
        except Failed as failure:
            raise Failed(f"{page}:{block.line}: {failure}") from None
        except Exception as error:
            raise Failed(f"{page}:{block.line}: {error!r}") from error
        first = block.text.strip().splitlines()[0][:70]
        print(f"  {time.monotonic() - began:5.1f} s  {page}:{block.line}  {block.language}  {first}", flush=True)
        count += 1
    return count


def folder_of(page, work):
    """The folder in which a reader of the page stands, without what git ignores."""
    folder = work / "here"
    if page == "README.md":
        folder.mkdir()
        for file in Path(os.environ["DIST"]).iterdir():
            if file.suffix != ".deb" and "-debug." not in file.name:
                (folder / file.name).symlink_to(file)
    elif page.startswith("docs/recipes/"):
        shutil.copytree((ROOT / page).parent, folder)
        (folder / "node_modules").symlink_to(SDK / "node_modules")
    else:
        folder.mkdir()
    return folder


def main():
    words = sys.argv[1:]
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], check=True, capture_output=True, text=True
    )
    pages = sorted(page for page in listed.stdout.split() if not page.startswith(RECORDS))
    chosen = [page for page in pages if not words or any(word in page for word in words)]
    recipes = [page for page in RECIPES if page in chosen]
    if recipes and recipes[0] != RECIPES[0]:
        recipes.insert(0, RECIPES[0])
    others = sorted((page for page in chosen if page not in RECIPES), key=lambda page: page != "README.md")
    count = 0
    shell = None
    try:
        for page in others:
            shell = new_shell(page)
            count += run_page(shell, page)
            shell.stop()
        for page in recipes:
            fresh = new_shell(page)
            if page != recipes[0]:
                # The node and the variables of the first page.
                fresh.servers = shell.servers
                shutil.copy(shell.state, fresh.state)
            shell_before, shell = shell, fresh
            kept = len(shell.servers)
            count += run_page(shell, page)
            if page != recipes[0]:
                shell.stop(kept)
                shell = shell_before
    except Failed as failure:
        print(f"docs-test: {failure}", file=sys.stderr)
        return 1
    finally:
        if shell:
            shell.stop()
    if count == 0:
        print("docs-test: no block was executed", file=sys.stderr)
        return 1
    print(f"docs-test: {count} blocks of {len(others) + len(recipes)} pages, {count} passed, 0 failed")
    return 0


def new_shell(page):
    work = SCRATCH / re.sub(r"\W+", "-", page)
    work.mkdir()
    return Shell(folder_of(page, work), work)


SCRATCH = Path(os.environ["KEEP"]).resolve() if "KEEP" in os.environ else Path(tempfile.mkdtemp())
SCRATCH.mkdir(exist_ok=True)
# The package of the TypeScript client and what its pages use beside it, as `npm install` would place them.
SDK = SCRATCH / "sdk"
(SDK / "node_modules/@rookery").mkdir(parents=True)
(SDK / "node_modules/@rookery/client").symlink_to(ROOT / "sdk")
for name in (".bin", "ws", "react", "react-dom", "happy-dom"):
    (SDK / "node_modules" / name).symlink_to(ROOT / "sdk/node_modules" / name)
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("ROOKERY_", "CHAT_"))},
    "PATH": ":".join([str(Path(sys.executable).parent), os.environ["BIN"], os.environ["RECIPES"], os.environ["PATH"]]),
}
try:
    status = main()
finally:
    if "KEEP" not in os.environ:
        shutil.rmtree(SCRATCH, ignore_errors=True)
sys.exit(status)
