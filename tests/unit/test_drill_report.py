"""The report of a failover drill: what it finds broken, and that the page is sound whatever the names are."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from ansible_collections.airflow_celery.cluster.plugins.action.failover_report import on_one_clock
from ansible_collections.airflow_celery.cluster.plugins.modules.network_cut import rules
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import ledger
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.clock import estimate
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.drill_page import html
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.drill_report import (
    Drill,
    moved,
    problems,
    text,
)
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.failover import Failover
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.ledger import Execution

CUT = 1_790_000_000.0
HOSTILE = '<script>alert("1")</script>&\'"'


def execution(task: str, attempt: int, host: str, begin: float, last: float, ended: bool = True) -> Execution:
    """Return an execution, its times in seconds since the cut."""
    return Execution(task, attempt, host, CUT + begin, CUT + last, ended)


@pytest.fixture
def drill() -> Drill:
    """A drill in which every promise was kept."""
    return Drill(
        worker="worker2",
        workers=["worker1", "worker2"],
        tasks=["load[0]", "load[1]"],
        executions=[
            execution("load[0]", 1, "worker1", -3, 27),
            execution("load[1]", 1, "worker2", -3, 12.5, ended=False),
            execution("load[1]", 2, "worker1", 17.25, 47),
        ],
        cut=CUT,
        healed=CUT + 18,
        failover=Failover(20),
        run_id="manual__1",
        run_state="success",
        back=2.0,
    )


def test_a_kept_promise_is_measured(drill: Drill) -> None:
    assert problems(drill) == []
    (one,) = moved(drill)
    assert (one.task, one.stopped, one.again, one.host, one.attempt) == ("load[1]", 12.5, 17.25, "worker1", 2)
    assert "17.2 s" in text(drill)
    assert "No task was lost" in text(drill)
    assert "A promise is broken" not in html(drill)


def changed(drill: Drill, *executions: Execution) -> Drill:
    """Return the drill with another story of load[1]."""
    return replace(drill, executions=[drill.executions[0], *executions])


@pytest.mark.parametrize(
    ("word", "executions"),
    [
        ("LOST", [execution("load[1]", 1, "worker2", -3, 12, ended=False)]),
        (
            "OVERLAPPED",
            [
                execution("load[1]", 1, "worker2", -3, 19, ended=False),
                execution("load[1]", 2, "worker1", 17, 47),
            ],
        ),
        (
            "LATE",
            [execution("load[1]", 1, "worker2", -3, 12, ended=False), execution("load[1]", 2, "worker1", 20.5, 47)],
        ),
        (
            "DISTURBED",
            [execution("load[1]", 1, "worker2", -30, -9, ended=False), execution("load[1]", 2, "worker1", 5, 47)],
        ),
        (
            "DISTURBED",
            [execution("load[1]", 1, "worker1", -3, 9, ended=False), execution("load[1]", 2, "worker2", 20, 47)],
        ),
        ("NOTHING MEASURED", [execution("load[1]", 1, "worker2", -3, 27)]),
    ],
)
def test_a_broken_promise_is_found(drill: Drill, word: str, executions: list[Execution]) -> None:
    broken = changed(drill, *executions)
    assert any(problem.startswith(word) for problem in problems(broken)), problems(broken)
    assert "A promise is broken" in html(broken)
    assert word in text(broken)


def test_without_tuning_nothing_is_late(drill: Drill) -> None:
    slow = [execution("load[1]", 1, "worker2", -3, 12, ended=False), execution("load[1]", 2, "worker1", 310, 340)]
    stock = replace(changed(drill, *slow), failover=None)
    assert problems(stock) == []
    assert "nothing is promised" in html(stock)


def test_a_worker_that_does_not_come_back_and_a_failed_run_are_problems(drill: Drill) -> None:
    found = problems(replace(drill, back=None, run_state="failed"))
    assert [problem.partition(":")[0] for problem in found] == ["DAG RUN", "NOT BACK"]


class Page(HTMLParser):
    """Checks that tags are closed, and notes which there are."""

    VOID = {"meta", "path", "line", "rect"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]
        if self.get_starttag_text() and not str(self.get_starttag_text()).endswith("/>") and tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_hostile_names_stay_text(drill: Drill) -> None:
    bad = replace(
        drill,
        worker=HOSTILE,
        workers=["worker1", HOSTILE],
        tasks=[HOSTILE],
        run_id=HOSTILE,
        run_state=HOSTILE,
        problems=[HOSTILE],
        executions=[execution(HOSTILE, 1, HOSTILE, -3, 30, ended=False), execution(HOSTILE, 2, HOSTILE, 20, 60)],
    )
    page = Page()
    page.feed(html(bad))
    assert page.open == []
    assert "script" not in page.seen
    assert page.links == []
    assert {"svg", "table", "title"} <= page.seen


def test_every_execution_is_drawn_with_a_title(drill: Drill) -> None:
    drawn = html(drill)
    assert drawn.count("<g>") == 3
    assert "load[1], try 1 on worker2: -3.0 to 12.5 s, did not come to its end" in drawn
    # One in the key.
    assert drawn.count('class="cross"') == 2


def test_a_drill_without_executions_has_a_page(drill: Drill) -> None:
    assert "LOST" in html(replace(drill, executions=[]))


def test_ledgers_are_brought_to_one_clock() -> None:
    line = '{"task": "load[0]", "try": 1, "host": "box", "pid": 7, "event": "%s", "time": %s, "monotonic": 5}'
    lines = on_one_clock("worker1", [line % ("begin", 100.0), line % ("end", 110.0), '{"task": "lo'], 2.5)
    (one,) = ledger.read(lines, "time")
    assert (one.host, one.begin, one.last, one.ended) == ("worker1", 97.5, 107.5, True)


def test_the_offset_of_a_clock_is_the_middle_of_what_the_samples_leave() -> None:
    offset, error = estimate([(0.0, 5.1, 0.4), (1.0, 6.1, 1.2)])
    assert (round(offset, 3), round(error, 3)) == (5.0, 0.1)


@pytest.mark.parametrize(
    ("connection", "client"),
    [
        ("10.0.0.1 50000 10.0.0.2 2222", "ip saddr 10.0.0.1 tcp dport 2222"),
        ("::ffff:10.0.0.1 50000 ::ffff:10.0.0.2 22", "ip saddr 10.0.0.1 tcp dport 22"),
        ("fe80::1%eth0 50000 fe80::2%eth0 22", "ip6 saddr fe80::1 tcp dport 22"),
    ],
)
def test_the_client_of_the_drill_keeps_its_way_in(connection: str, client: str) -> None:
    table = rules(connection)
    assert client in table
    assert table.count("policy drop") == 3
    assert ("nd-neighbor-solicit" in table) == client.startswith("ip6")


@pytest.mark.parametrize("connection", ["", "10.0.0.1 1 2", "x; flush ruleset 1 10.0.0.2 22", "$(x) 1 10.0.0.2 22"])
def test_what_is_no_connection_makes_no_rules(connection: str) -> None:
    with pytest.raises(ValueError):
        rules(connection)
