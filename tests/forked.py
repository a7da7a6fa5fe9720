"""Runs `python train.py` and `birds` in processes forked from one that has already imported
everything.

A command that is refused then takes a fraction of a second; importing torch takes seconds.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

PRELOADED = (
    "hydra",
    "lightning",
    "pandas",
    "sklearn.linear_model",
    "torch",
    "torchmetrics.functional.classification",
)


def call(command: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `[python, FILE or -c CODE or -m MODULE, words...]` as `subprocess.run` would, and wait."""
    with tempfile.TemporaryDirectory() as place:
        files = {name: f"{place}/{name}" for name in ("out", "err")}
        asked = {"command": command[1:], "cwd": str(cwd), "env": env, **files}
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        status = json.loads(server.stdout.readline())
        texts = [Path(file).read_text(errors="replace") for file in files.values()]
    return subprocess.CompletedProcess(command, status, *texts)


_SERVERS: dict[int, subprocess.Popen[str]] = {}


def _server() -> subprocess.Popen[str]:
    """This process's server, started when it is first needed; it ends when its input closes."""
    if os.getpid() not in _SERVERS:
        pipe = subprocess.PIPE
        _SERVERS[os.getpid()] = subprocess.Popen(
            [sys.executable, __file__], stdin=pipe, stdout=pipe, text=True
        )
    return _SERVERS[os.getpid()]


def _serve() -> None:
    for name in PRELOADED:
        __import__(name)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(asked)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(asked: dict[str, Any]) -> None:
    """Run the command in this process, then end the process."""
    os.setsid()
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.path[:0] = asked["env"].get("PYTHONPATH", "").split(os.pathsep)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    status: Any = 0
    program, *words = asked["command"]
    try:
        if program == "-c":
            sys.argv = ["-c", *words[1:]]
            exec(compile(words[0], "<string>", "exec"), {"__name__": "__main__"})
        elif program == "-m":
            sys.argv = words
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [program, *words]
            sys.path.insert(0, str(Path(program).parent))
            runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    _serve()
