"""Short version of the fault injection: each fault once or a few times, in small trainings."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_trainings_recover_from_all_faults() -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent), "--times", "2"], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [re.split(r" *\| *", line)[1:-1] for line in done.stdout.splitlines()[2:]]
    assert len(rows) >= 7
    for fault, trainings, recovered, repeated, identical in rows:
        assert trainings == recovered, fault
        assert identical in ("yes", "-"), fault
        assert int(repeated) <= (0 if "SIGTERM" in fault or "SIGINT" in fault else 8), fault
