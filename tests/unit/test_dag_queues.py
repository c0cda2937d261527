"""Queues in the text of DAG files."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import dag_queues


def queues(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "a.py").write_text(text)
    return [use.queue for use in dag_queues.find(tmp_path)]


@pytest.mark.parametrize(
    "text",
    [
        "BashOperator(task_id='a', queue='gpu')",
        "sensors.FileSensor(queue='gpu')",
        "BashOperator.partial(task_id='a', queue='gpu').expand(bash_command=[])",
        "@task(queue='gpu')\ndef f(): ...",
        "@task.bash(queue='gpu')\ndef f(): ...",
        "f.override(queue='gpu')()",
        "default_args = {'retries': 1, 'queue': 'gpu'}",
        "default_args: dict = dict(queue='gpu')",
        "@dag(default_args={'queue': 'gpu'})\ndef d(): ...",
        "with DAG('d', default_args=dict(queue='gpu')): ...",
    ],
)
def test_the_queue_of_a_task_is_found(tmp_path: Path, text: str) -> None:
    assert queues(tmp_path, text) == ["gpu"]


@pytest.mark.parametrize(
    "text",
    [
        "Consumer(queue='celery')",
        "channel.basic_publish(queue='x')",
        "BashOperator(queue=name)",
        "BashOperator(task_id='queue')",
        "settings = {'queue': 'x'}",
        "# queue='gpu'\n",
        "queue = 'gpu'  is no Python",
    ],
)
def test_what_may_be_anything_is_left_alone(tmp_path: Path, text: str) -> None:
    assert queues(tmp_path, text) == []


def test_a_use_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "lib" / "b.py").write_text("\n\nXOperator(\n    queue='gpu',\n)\n")
    (tmp_path / ".git" / "c.py").write_text("XOperator(queue='hidden')")
    assert dag_queues.find(tmp_path) == [dag_queues.Use("lib/b.py", 4, "gpu")]
