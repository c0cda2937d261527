"""A person opens the pages in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from airflow_client import AirflowClient
from browser import PATIENCE, log_in, open_flower, wait_for_text, wait_until_logged_in
from cluster_inventory import Cluster
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.same_everywhere


def test_airflow_ui_shows_the_dag_after_login(
    browser: WebDriver, cluster: Cluster, client: AirflowClient, artifacts: Path
) -> None:
    client.wait_for_dag("get_stocks", seconds=60)
    log_in(browser, cluster, cluster.admin[1])
    wait_until_logged_in(browser)
    browser.get(f"{cluster.url}/dags")
    wait_for_text(browser, "get_stocks", "cluster_check", "0 18 * * 1-5")
    browser.save_screenshot(str(artifacts / "airflow-dags.png"))
    browser.get(f"{cluster.url}/dags/get_stocks")
    wait_for_text(browser, "fetch_history")
    browser.save_screenshot(str(artifacts / "airflow-ui.png"))


def test_airflow_ui_refuses_a_wrong_password(browser: WebDriver, cluster: Cluster) -> None:
    log_in(browser, cluster, "not" + cluster.admin[1])
    wait_for_text(browser, "Invalid login")
    browser.get(f"{cluster.url}/dags")
    WebDriverWait(browser, PATIENCE).until(lambda driver: "/auth/login" in driver.current_url, "let in")


def test_flower_shows_every_worker(
    browser: WebDriver, cluster: Cluster, artifacts: Path, run_cluster_check: Callable[..., object]
) -> None:
    # So that there is something to see.
    run_cluster_check(tasks=4 * len(cluster.workers), seconds=1)
    open_flower(browser, cluster, "Online")
    browser.save_screenshot(str(artifacts / "flower.png"))
