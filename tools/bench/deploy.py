"""How long deployments take: fresh, a second run, one more worker, and Airflow placed on several hosts.

The worker that is added to fifty is in an inventory of fifty-one of which most are no machines: an addition that asked
one of them for anything would fail.
"""

from __future__ import annotations

from typing import Any

from cluster_inventory import PROJECT

from bench.site import MACHINES, Site

WORKERS = 2
ADDED_TO = (2, 50)
PLACED_ON = (3, 8)
PLACE = "tools/bench/place.yml"
# The DAGs of the demo: the DAG processor would import the many of the load shapes all the time, and take a core.
DEMO_DAGS = ("-e", f"airflow_dags_dir={PROJECT / 'dags'}")


def deploy_twice(site: Site) -> dict[str, Any]:
    """Deploy on fresh machines, and once more; the cluster stays."""
    for lock in site.locks():
        lock.unlink()
    site.begin_anew(WORKERS)
    fresh = site.play("site.yml", *DEMO_DAGS)
    second = site.play("site.yml", *DEMO_DAGS)
    return {"fresh": fresh.seconds, "second": second.seconds, "tasks": second.tasks}


def add_workers(site: Site) -> dict[str, Any]:
    """Add a worker to a small cluster and to a large one; return the seconds, and which hosts had tasks."""
    found = {}
    for number in ADDED_TO:
        worker = f"worker{number + 1}"
        site.write_hosts(number + 1)
        site.play(MACHINES, "--limit", worker)
        added = site.play("site.yml", *DEMO_DAGS, "--limit", worker)
        found[str(number)] = {"seconds": added.seconds, "hosts": sorted(added.tasks)}
    return found


def place(site: Site) -> dict[str, Any]:
    """Place Airflow on fresh hosts, in the way of the roles and with pip on each host."""
    found = {}
    for hosts in PLACED_ON:
        site.begin_anew(hosts - 1)
        # Debian's packages are the same for both.
        site.play(PLACE, "--tags", "packages")
        ours = site.play(PLACE, "--tags", "ours")
        [lock] = site.locks()
        pip = site.play(PLACE, "--tags", "pip", "-e", f"bench_requirements={lock}")
        found[str(hosts)] = {"ours": ours.seconds, "pip": pip.seconds}
    return found
