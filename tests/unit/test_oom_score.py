"""Which process of a worker the kernel ends when memory runs out, on real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUNTIME = Path(__file__).parents[2] / "roles/airflow_runtime/files/runtime"

# A worker that forks the processes of a pool one after the other, each of which forks tasks; and the score of each.
WORKER = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from airflow_celery_cluster import memory, oom_score
found = {"before": int(open(oom_score.SCORE_FILE).read())}
with open(oom_score.SCORE_FILE) as own:
    oom_score.raise_score_of_children()
    memory.hide()
    for name in ("first", "second"):
        if os.fork() == 0:
            for task in ("task", "next task"):
                if os.fork() == 0:
                    os._exit(0)
                os.wait()
            # Only root may look now, as the process is hidden.
            with open(f"{sys.argv[2]}/{name}", "w") as file:
                json.dump(int(open(oom_score.SCORE_FILE).read()), file)
            os._exit(0)
        os.wait()
        own.seek(0)
        found[f"after {name}"] = int(own.read())
print(json.dumps(found))
"""


def test_the_pool_is_ended_before_the_worker(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(RUNTIME), str(tmp_path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    own = found["before"]
    assert found == {"before": own, "after first": own, "after second": own}
    assert own < 500
    assert [json.loads((tmp_path / name).read_text()) for name in ("first", "second")] == [500, 500]
