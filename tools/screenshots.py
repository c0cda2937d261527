"""Write the pictures of the UI that the documentation shows, from the demo: ``make demo`` first.

``.venv/bin/python tools/screenshots.py`` writes ``airflow-ui.png`` and ``flower.png`` in ``docs/images``. Scenario
``logs`` leaves ``lost-attempt.png`` in ``artifacts/``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from selenium.webdriver.remote.webdriver import WebDriver

# The library of the tests
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/cluster"))

from browser import install_chromium, log_in, open_browser, open_flower, wait_for_text, wait_until_logged_in
from cluster_inventory import PROJECT, Cluster

DAG = "get_stocks"
IMAGES = PROJECT / "docs/images"


def take(browser: WebDriver, name: str) -> None:
    """Write a picture of what the window shows."""
    browser.save_screenshot(str(IMAGES / f"{name}.png"))


def main() -> None:
    """Open the pages, and write the pictures."""
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ.pop(proxy, None)
        os.environ.pop(proxy.upper(), None)
    cluster = Cluster.read(PROJECT / "inventory/local")
    _, password = cluster.admin
    with tempfile.TemporaryDirectory() as folder:
        browser = open_browser(install_chromium(), Path(folder) / "profile")
        try:
            log_in(browser, cluster, password)
            wait_until_logged_in(browser)
            browser.get(f"{cluster.url}/dags/{DAG}")
            wait_for_text(browser, DAG, "fetch_history")
            take(browser, "airflow-ui")
            open_flower(browser, cluster)
            take(browser, "flower")
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
