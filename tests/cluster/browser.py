"""A person's browser for the tests: headless Chromium, and what is done with it.

A conftest.py imports the fixtures ``artifacts``, ``chromium``, ``browser_options`` and ``browser``.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from airflow_client import TaskInstance
from cluster_inventory import PROJECT, Cluster
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 60  # seconds for a page to show what it should


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Directory for what a person may want to look at afterwards."""
    path = PROJECT / "artifacts"
    path.mkdir(exist_ok=True)
    return path


def install_chromium() -> str:
    """Return the path of the browser; install Chromium when this machine has none."""
    wanted = {"chromium": "chromium", "chromedriver": "chromium-driver"}
    missing = [package for program, package in wanted.items() if shutil.which(program) is None]
    if missing:
        print(f"Installing {' and '.join(missing)} on this machine, for the tests in a browser.")
        subprocess.run([PROJECT / "tools/apt_install", *missing], check=True)
    path = shutil.which("chromium")
    assert path
    return path


def open_browser(chromium: str, profile: Path, *arguments: str) -> WebDriver:
    """Return a headless Chromium with an empty profile, which talks to nobody but us.

    :param profile: directory that does not exist yet.
    :param arguments: further options of Chromium.
    """
    options = webdriver.ChromeOptions()
    # The authority is the cluster's own; that its certificates are right is seen by the clients that verify them.
    options.accept_insecure_certs = True
    options.binary_location = chromium
    for argument in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-dev-shm-usage", "--window-size=1280,800", f"--user-data-dir={profile}"),
        *arguments,
    ):
        options.add_argument(argument)
    return webdriver.Chrome(
        options=options,
        service=webdriver.ChromeService(executable_path=str(Path(chromium).with_name("chromedriver"))),
    )


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser."""
    return install_chromium()


@pytest.fixture
def browser_options() -> tuple[str, ...]:
    """Further options of Chromium; a conftest.py may have others."""
    return ()


@pytest.fixture
def browser(
    chromium: str, browser_options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WebDriver]:
    """A headless Chromium."""
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    driver = open_browser(chromium, tmp_path / "profile", *browser_options)
    yield driver
    driver.quit()


def wait_for_text(browser: WebDriver, *texts: str) -> None:
    """Wait until the page shows all of these texts."""

    def shown(driver: WebDriver) -> bool:
        # Without white space: where a narrow column breaks a word, the text has a line break.
        page = "".join(driver.find_element(By.TAG_NAME, "body").text.split())
        return all("".join(text.split()) in page for text in texts)

    # The page may be redrawn between finding its body and reading it.
    waiting = WebDriverWait(browser, PATIENCE, ignored_exceptions=(StaleElementReferenceException,))
    try:
        waiting.until(shown)
    except TimeoutException:
        page = browser.find_element(By.TAG_NAME, "body").text
        # Not the URL, which holds the login of Flower.
        pytest.fail(f"the page {browser.title!r} does not show {texts}, but: {page}")


def wait_for_log(browser: WebDriver, cluster: Cluster, dag_id: str, task: TaskInstance, *texts: str) -> None:
    """Open the log of a task's try, and wait until the page shows all of these texts."""
    mapped = f"/mapped/{task.map_index}" if task.map_index >= 0 else ""
    path = f"/dags/{dag_id}/runs/{quote(task.run_id)}/tasks/{task.task_id}{mapped}?try_number={task.try_number}"
    # The page holds the lines that fit into the window.
    browser.set_window_size(1280, 6000)
    browser.get(cluster.url + path)
    wait_for_text(browser, *texts)


def open_flower(browser: WebDriver, cluster: Cluster, *texts: str) -> None:
    """Open Flower with its login, and wait until the page shows all workers and these texts."""
    user, password = cluster.flower_login
    scheme, _, rest = cluster.flower_url.partition("://")
    browser.get(f"{scheme}://{quote(user)}:{quote(password, safe='')}@{rest}/")
    wait_for_text(browser, *(f"celery@{worker}" for worker in cluster.workers), *texts)


def log_in(browser: WebDriver, cluster: Cluster, password: str, user: str = "") -> None:
    """Fill in the login form of Airflow.

    :param user: name of the user; the administrator of the inventory if it is empty.
    """
    browser.get(cluster.url)
    fields = WebDriverWait(browser, PATIENCE).until(
        lambda driver: driver.find_elements(By.NAME, "username"), "no login form"
    )
    fields[0].send_keys(user or cluster.admin[0])
    browser.find_element(By.NAME, "password").send_keys(password)
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()


def wait_until_logged_in(browser: WebDriver) -> None:
    """Wait until the login form is gone."""
    WebDriverWait(browser, PATIENCE).until(lambda driver: "login" not in driver.current_url, "not logged in")
