"""The server that training processes fork from, and its owner."""

import subprocess
import sys
import time

from processes import descendants, eventually, is_alive

OWNER = """
import time
from readmission.orchestration.process_pool import worker_pool
with worker_pool(1):
    print("started", flush=True)
    time.sleep(60)
"""


def test_it_ends_with_its_killed_owner_while_it_loads() -> None:
    """What it loads takes seconds, in which it looks at nothing else."""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "started\n"
        time.sleep(0.7)
        servers = descendants(owner.pid)
        assert servers
        owner.kill()
        assert eventually(lambda: not any(is_alive(server) for server in servers), 1.0)
