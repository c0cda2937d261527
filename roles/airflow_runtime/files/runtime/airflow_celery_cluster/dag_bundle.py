"""A DAG bundle over releases that the controller placed on this machine."""

from __future__ import annotations

import contextlib
import functools
import logging
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion, get_bundle_tracking_file
from airflow.dag_processing.bundles.local import LocalDagBundle

from airflow_celery_cluster import forks

log = logging.getLogger(__name__)


class ReleaseDagBundle(BaseDagBundle):
    """DAG files in ``<root>/releases/<id>/``; ``<root>/current`` names the newest.

    A DAG run is pinned to the release it was created with, and a task reads its
    files from that release's own directory, never through the ``current`` link.
    So a new release that arrives in the middle of a task cannot show it half
    old, half new files.

    :param root: directory that holds ``releases/`` and ``current``.
    """

    supports_versioning = True

    def __init__(self, *, root: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._root = Path(root)
        self._release = self._choose()

    def initialize(self) -> None:
        """Prepare for Airflow's record of the versions that this machine has used: a file for each of them.

        Airflow's cleanup of checkouts removes the directory of each recorded version, and ends at one that is not
        there. A release is elsewhere, so it has an empty one. Records of releases that were pruned are removed.
        """
        if self.version is not None:
            (self.versions_dir / self.version).mkdir(parents=True, exist_ok=True)
            for folder in self.versions_dir.iterdir():
                if not (self._root / "releases" / folder.name).is_dir() and folder.name != self.version:
                    # Not empty: a checkout of the git repository that the DAGs came from before.
                    with contextlib.suppress(OSError):
                        folder.rmdir()
                        get_bundle_tracking_file(self.name, folder.name).unlink(missing_ok=True)
        super().initialize()

    def _current(self) -> str:
        """Return the id of the newest release; FileNotFoundError when none was placed yet."""
        return (self._root / "current").resolve(strict=True).name

    def _choose(self) -> str:
        if self.version is None:
            return self._current()
        if (self._root / "releases" / self.version).is_dir():
            return self.version
        # A machine that was down during several deployments has missed this release, or it was
        # pruned under a very long DAG run. Refusing would turn the machine into one that fails
        # every task it takes; its newest release is the better answer, and it says so.
        current = self._current()
        log.warning("DAG release %s is not on this machine; using %s instead", self.version, current)
        return current

    @property
    def path(self) -> Path:
        """Directory of the release in use, free of links that may move."""
        return self._root / "releases" / self._release

    def get_current_version(self) -> BundleVersion:
        """Return the id of the release in use."""
        return BundleVersion(version=self._release)

    def refresh(self) -> None:
        """Move to the newest release; a pinned bundle stays where it is."""
        self._release = self._choose()


@functools.cache
def prepare_dag_processor() -> None:
    """Prepare this process, which forks one for each DAG file that it imports."""
    forks.import_for_dags()
    forks.share_memory()


class ClusterDagBundle(LocalDagBundle):
    """The DAGs that the cluster itself brings, as part of its runtime: they are there whatever the user's DAGs are."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(path=str(Path(__file__).parent / "dags"), **kwargs)

    def refresh(self) -> None:
        """Leave the files as they are. A DAG processor alone refreshes bundles, before it imports the first file."""
        prepare_dag_processor()
        super().refresh()
