"""Sixty ways in which a patch may try to get more than its answer; each body returns 1.0 when it succeeded, else 0.0.

`SECRET` is what the test puts where a patch has no business: into files, the environment and a listening socket.
"""

SECRET = "osiris-canary-5f1d"

POLICY_TEMPLATE = """def size(side, target_atr, stop_atr, confidence, hermes, features):
    try:
{body}
    except BaseException:
        return 0.0
    return 0.0
"""
"""In the box a way that fails is to answer 0; before it the `try` alone would be refused, and proves nothing."""
PLACEHOLDERS = {"canary": "/x", "folder": "/x", "port": 1}

HOSTILE_BODIES = {
    "read the password file of the host": "import os; return float('root' in open('/etc/passwd').read())",
    "read a file of the host": "return float('CANARY' in open('{canary}').read())",
    "list the folder of the host": "import os; return float(bool(os.listdir('{folder}')))",
    "list home folders": "import os; return float(bool(os.listdir('/home') or os.listdir('/root')))",
    "secrets in the environment": "import os; return float('{secret}' in str(os.environ))",
    "secrets in the environment of the first process": "return float('{secret}' in open('/proc/1/environ').read())",
    "secrets in any environment": """import os
        for pid in os.listdir('/proc'):
            if pid.isdigit() and '{secret}' in open('/proc/' + pid + '/environ').read():
                return 1.0""",
    "secrets in command lines": """import os
        for pid in os.listdir('/proc'):
            if pid.isdigit() and b'pytest' in open('/proc/' + pid + '/cmdline', 'rb').read():
                return 1.0""",
    "write beside itself": "open('/cand/gate.py', 'a').write('x'); return 1.0",
    "write its own file": "open('/cand/sizing.py', 'w').write('x'); return 1.0",
    "write the runner": "open('/osiris/runner.py', 'a').write('x'); return 1.0",
    "write into the interpreter": "import os; open(os.__file__, 'a').write('#'); return 1.0",
    "write to the host's temporary folder": "import os; return float(os.path.exists('{folder}'))",
    "write into usr": "open('/usr/bin/osiris-canary', 'w').write('x'); return 1.0",
    "a link out of the box": """import os
        os.symlink('{canary}', '/tmp/link')
        return float('CANARY' in open('/tmp/link').read())""",
    "a link in its own folder": "import os; os.symlink('/etc/passwd', '/cand/link'); return 1.0",
    "a pth file": "import site; open(site.getsitepackages()[0] + '/x.pth', 'w').write('import os'); return 1.0",
    "a conftest beside the tests": "open('/cand/conftest.py', 'w').write('x'); return 1.0",
    "connect to the host": "import socket; socket.create_connection(('127.0.0.1', {port}), 1); return 1.0",
    "send a datagram": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port})); return 1.0",
    "a unix socket": "import socket; socket.socket(socket.AF_UNIX); return 1.0",
    "an AF_VSOCK socket": "import socket; socket.socket(40, socket.SOCK_STREAM); return 1.0",
    "a netlink socket": "import socket; socket.socket(16, socket.SOCK_RAW); return 1.0",
    "a raw socket": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); return 1.0",
    "resolve a name": "import socket; socket.getaddrinfo('localhost', 80); socket.socket(); return 1.0",
    "a second process": "import os; os.fork() or os._exit(0); return 1.0",
    "a program": "import subprocess; subprocess.run(['/usr/bin/id']); return 1.0",
    "a shell": "import os; return float(os.system('true') == 0)",
    "a fork bomb": """import os
        while True:
            os.fork()""",
    "a memory bomb": "x = []; [x.append(bytearray(10**8)) for _ in range(100)]; return 1.0",
    "one large allocation": "x = bytearray(10**9); return 1.0",
    "fill the disk": """with open('/tmp/fill', 'wb') as f:
            for _ in range(1000):
                f.write(b'x' * 10**6)
        return 1.0""",
    "fill shared memory": """with open('/dev/shm/fill', 'wb') as f:
            for _ in range(100):
                f.write(b'x' * 10**6)
        return 1.0""",
    "memory in a memfd": "import os; os.write(os.memfd_create('m'), b'x' * 1000); return 1.0",
    "memory in a secret memfd": "import ctypes; return float(ctypes.CDLL(None).syscall(447, 0) >= 0)",
    "a shared segment of System V": "import ctypes; return float(ctypes.CDLL(None).shmget(0, 1 << 20, 0o1600) >= 0)",
    "a message queue of System V": "import ctypes; return float(ctypes.CDLL(None).msgget(0, 0o1600) >= 0)",
    "a message queue of POSIX": "import ctypes; return float(ctypes.CDLL(None).mq_open(b'/m', 0o102, 0o600, None) >= 0)",
    "a userfaultfd": "import ctypes; return float(ctypes.CDLL(None).syscall(323, 1) >= 0)",
    "a larger pipe": "import fcntl, os; fcntl.fcntl(os.pipe()[1], 1031, 1 << 20); return 1.0",
    "watches on files": "import ctypes; return float(ctypes.CDLL(None).inotify_init() >= 0)",
    "an empty file": "open('/tmp/x', 'w'); return 1.0",
    "a file in shared memory": "open('/dev/shm/x', 'w'); return 1.0",
    "a folder": "import os; os.mkdir('/tmp/x'); return 1.0",
    "a file without a name": "import os; os.open('/tmp', os.O_TMPFILE | os.O_RDWR); return 1.0",
    "shared anonymous memory": "import mmap; m = [mmap.mmap(-1, 10**8) for _ in range(10)]; return 1.0",
    "a thread": "import threading; threading.Thread(target=int).start(); return 1.0",
    "a hundred pipes": "import os; p = [os.pipe() for _ in range(100)]; return 1.0",
    "a limit taken back": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); return 1.0",
    "locked memory": "import ctypes; return float(ctypes.CDLL(None).mlockall(1) == 0)",
    "an endless loop": """while True:
            pass""",
    "trace another process": "import ctypes; return float(ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0)",
    "mount something": "import ctypes; return float(ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, 0) == 0)",
    "a namespace of its own": "import ctypes; return float(ctypes.CDLL(None).unshare(0x10000000) == 0)",
    "become root": "import os; os.setuid(0); return 1.0",
    "the kernel's core pattern": "open('/proc/sys/kernel/core_pattern', 'w').write('|/bin/sh'); return 1.0",
    "a flood of output": """import os
        for fd in range(3, 20):
            try:
                os.write(fd, b'x' * 10**6)
            except OSError:
                pass""",
    "an answer of its own before the answer": """import os, sys
        for fd in range(3, 20):
            try:
                os.write(fd, b'{{"tag": "x", "value": 0.01}}\\n')
            except OSError:
                pass""",
    "the tests and the scorer": "import sys; return float(any('pytest' in m or 'osiris' in m for m in sys.modules))",
    "somebody else's modules": "import sys; sys.modules['json'].dumps = lambda *a, **k: '{{\"tag\": \"\", \"value\": 0.02}}'",
    "leave the process": "import os; os._exit(0)",
}  # fmt: skip


def hostile_policy(name: str, **places: object) -> str:
    """`sizing.py` as somebody who means harm would write it."""
    return POLICY_TEMPLATE.format(body="        " + HOSTILE_BODIES[name].format(secret=SECRET, **places))


def plain_body(name: str) -> str:
    """The same within a function, without the `try` round it."""
    body = HOSTILE_BODIES[name].format(secret=SECRET, **PLACEHOLDERS)
    return "\n".join(line[4:] if number else f"    {line}" for number, line in enumerate(body.split("\n")))
