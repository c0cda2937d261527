"""The log of a task is readable up to its last moment, whatever became of the host that wrote it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from airflow_client import TaskInstance, wait_for
from browser import log_in, wait_for_log, wait_until_logged_in
from cluster_inventory import Cluster
from faults import ledger
from faults.harness import DAG, TRANSIENT, Scene, tasks_of, wait_for_logs
from faults.machines import Machines
from selenium.webdriver.remote.webdriver import WebDriver

# Between two lines of a task, in seconds
BEAT = 0.1


@pytest.fixture
def ui(browser: WebDriver, cluster: Cluster) -> WebDriver:
    """A browser in which the administrator has logged in."""
    log_in(browser, cluster, cluster.admin[1])
    wait_until_logged_in(browser)
    return browser


def test_the_log_of_a_lost_attempt_is_there_while_its_worker_is_off(
    scene: Scene, machines: Machines, ui: WebDriver, artifacts: Path
) -> None:
    scene.begin_load({"tasks": 4, "seconds": 20, "beat": BEAT})
    # Of a shorter execution the log may lack every line.
    wait_for(
        lambda: all(one.last - one.begin > 2 * ledger.CUT for one in scene.executions() if one.task in scene.hit),
        what="tasks that have written for some time",
        seconds=30,
        interval=0.5,
    )
    scene.injected = time.monotonic()
    machines.power_off(scene.worker)
    try:
        wait_for(scene.moved, what="the lost tasks run elsewhere", seconds=120, interval=0.5)
        instances = {f"{task.task_id}[{task.map_index}]": task for task in tasks_of(scene, scene.run_id)}
        # As a person reads it in the meantime, before anything of the worker can come back.
        lost_tries = {name: replace(instances[name], try_number=1) for name in scene.hit}
        logs = {name: scene.client.log(DAG, task) for name, task in lost_tries.items()}
        name, task = next(iter(lost_tries.items()))
        wait_for_log(ui, scene.cluster, DAG, task, logs[name].splitlines()[-1])
        ui.set_window_size(1280, 800)
        ui.save_screenshot(str(artifacts / "lost-attempt.png"))
        assert not machines.is_on(scene.worker)
    finally:
        machines.power_on(scene.worker)
    assert scene.wait_for_run(scene.run_id, 300).state == "success"
    found = scene.executions()
    lost = [one for one in found if one.host == scene.worker and not one.ended]
    assert {one.task for one in lost} == scene.hit
    for one in lost:
        logged = ledger.signs_in_log(logs[one.task])
        assert ledger.missing_signs(one, logged) == []
        print(f"{one.task}: the log ends {one.last - logged[-1]:.2f} s before the ledger on the lost machine")
    assert wait_for_logs(scene, found) == []


def test_a_deferred_task_has_one_log_of_worker_and_trigger(scene: Scene, ui: WebDriver) -> None:
    scene.run_id = scene.client.trigger(DAG, {"tasks": 0, "deferred": 1, "seconds": 10, "beat": BEAT})
    scene.tasks = ["deferred[0]"]

    def task() -> TaskInstance:
        return next(task for task in tasks_of(scene, scene.run_id) if task.task_id == "deferred")

    wait_for(scene.all_deferred, what="the deferred task in the triggerer", seconds=90, transient=TRANSIENT)
    waiting = wait_for(
        lambda: text if "trigger" in (text := scene.client.log(DAG, task())).lower() else None,
        what="the part of the trigger",
        seconds=10,
    )
    assert "DEFERRED" in waiting
    wait_for_log(ui, scene.cluster, DAG, task(), waiting.splitlines()[-1])
    assert scene.wait_for_run(scene.run_id, 120).state == "success"
    found = scene.executions()
    assert [one.task for one in found] == ["deferred[0]"]
    assert wait_for_logs(scene, found) == []
    log = scene.client.log(DAG, task())
    assert waiting.splitlines()[-1] in log
    assert ".log.trigger." in log
    # The UI folds what stands behind the end of the task's own code, which may be the last lines of the ledger.
    of_worker = [line for line in log.splitlines() if '"beat"' in line]
    wait_for_log(ui, scene.cluster, DAG, task(), waiting.splitlines()[-1], of_worker[0])


def test_no_process_serves_logs(machines: Machines) -> None:
    for name in machines.names:
        listening = machines.run(name, "ss", "--listening", "--tcp", "--numeric", "--no-header")
        assert not {"8793", "8794"} & {line.split()[3].rsplit(":", 1)[-1] for line in listening.splitlines()}
