"""What the init container runs: it waits for the files that the platform brings by ``exec``. Standard library only.

Both programs are passed as text, for nothing has been brought in yet. They hold nothing of a tenant.
"""

WAIT = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
end = time.monotonic() + float(sys.argv[1])
while not os.path.exists("/agent-factory/given/.complete"):
    if time.monotonic() > end:
        sys.exit("nothing was brought in")
    time.sleep(0.02)
"""

UNPACK = """\
import json, os, sys
root = "/agent-factory/given"
if os.path.exists(root + "/.complete"):
    print("known")
    sys.exit()
size = int(sys.stdin.buffer.readline(32))
files = json.loads(sys.stdin.buffer.read(size))
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
