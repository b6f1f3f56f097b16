"""What the init container runs: it waits for the files that the platform brings by ``exec``, or, in a warm pod, which
needs none but our own programs, has them with it. Standard library only.

These programs are passed as text, for nothing has been brought in yet. They hold nothing of a tenant.
"""

from __future__ import annotations

import base64
import json
import zlib

WAIT = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
end = time.monotonic() + float(sys.argv[1])
while not os.path.exists("/agent-factory/given/.complete"):
    if time.monotonic() > end:
        sys.exit("nothing was brought in")
    time.sleep(0.02)
"""

_BEGIN = """\
import base64, json, os, sys, zlib
root = "/agent-factory/given"
if os.path.exists(root + "/.complete"):
    print("known")
    sys.exit()
"""
_WRITE = """\
for name, text in files.items():
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o644)
with open(root + "/.complete.part", "w") as file:
    file.write("")
os.rename(root + "/.complete.part", root + "/.complete")
print("complete")
"""
UNPACK = (
    _BEGIN
    + """\
size = int(sys.stdin.buffer.readline(32))
files = json.loads(sys.stdin.buffer.read(size))
"""
    + _WRITE
)
"""Takes files from its standard input."""
CARRY = _BEGIN + "files = json.loads(zlib.decompress(base64.b64decode(sys.argv[1])))\n" + _WRITE
"""Takes files from its argument."""


def carried(files: dict[str, str]) -> str:
    """Return files as :data:`CARRY` takes them: the same text for the same files."""
    return base64.b64encode(zlib.compress(json.dumps(files, sort_keys=True).encode(), 9)).decode()
