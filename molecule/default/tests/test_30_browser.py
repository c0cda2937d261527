"""A person opens the pages in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from airflow_client import AirflowClient
from cluster_inventory import Cluster
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.same_everywhere

PATIENCE = 60  # seconds for a page to show what it should


@pytest.fixture
def browser(chromium: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebDriver]:
    """Open a headless Chromium with an empty profile, which talks to nobody but us."""
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    options = webdriver.ChromeOptions()
    # The authority is the cluster's own; that its certificates are right is seen by the clients that verify them.
    options.accept_insecure_certs = True
    options.binary_location = chromium
    for argument in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-dev-shm-usage", "--window-size=1280,800", f"--user-data-dir={tmp_path}/profile"),
    ):
        options.add_argument(argument)
    service = webdriver.ChromeService(executable_path=str(Path(chromium).with_name("chromedriver")))
    driver = webdriver.Chrome(options=options, service=service)
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


def log_in(browser: WebDriver, cluster: Cluster, password: str) -> None:
    """Fill in the login form of Airflow."""
    browser.get(cluster.url)
    fields = WebDriverWait(browser, PATIENCE).until(
        lambda driver: driver.find_elements(By.NAME, "username"), "no login form"
    )
    fields[0].send_keys(cluster.admin[0])
    browser.find_element(By.NAME, "password").send_keys(password)
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()


def test_airflow_ui_shows_the_dag_after_login(
    browser: WebDriver, cluster: Cluster, client: AirflowClient, artifacts: Path
) -> None:
    client.wait_for_dag("get_stocks", seconds=60)
    log_in(browser, cluster, cluster.admin[1])
    WebDriverWait(browser, PATIENCE).until(lambda driver: "login" not in driver.current_url, "not logged in")
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
    user, password = cluster.flower_login
    scheme, _, rest = cluster.flower_url.partition("://")
    browser.get(f"{scheme}://{quote(user)}:{quote(password, safe='')}@{rest}/")
    wait_for_text(browser, *(f"celery@{worker}" for worker in cluster.workers), "Online")
    browser.save_screenshot(str(artifacts / "flower.png"))
