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
            scores = []
            for _ in range(2):
                reader, writer = os.pipe()
                if os.fork() == 0:
                    os.write(writer, open(oom_score.SCORE_FILE, "rb").read())
                    os._exit(0)
                os.wait()
                scores.append(int(os.read(reader, 16)))
            scores.append(int(open(oom_score.SCORE_FILE).read()))
            with open(f"{sys.argv[2]}/{name}", "w") as file:
                json.dump(scores, file)
            os._exit(0)
        os.wait()
        own.seek(0)
        found[f"after {name}"] = int(own.read())
print(json.dumps(found))
"""


def test_tasks_and_their_supervisors_are_ended_before_the_worker(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(RUNTIME), str(tmp_path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    own = found["before"]
    assert found == {"before": own, "after first": own, "after second": own}
    assert own < 500
    # Two tasks, and their supervisor after them
    assert [json.loads((tmp_path / name).read_text()) for name in ("first", "second")] == [[500] * 3] * 2
