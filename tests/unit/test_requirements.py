"""Each form of requirement is one that a host can build, or is refused with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import requirements

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BY_FILE, BY_COMMIT = "NAME @ file:///", "NAME @ git+https://HOST/PATH.git@COMMIT"
ACCEPTED = [
    "apache-airflow-providers-http>=5",
    "apache-airflow[statsd]",
    "a[b,c]>=1,!=1.5",
    "a===1.0",
    "a; python_version < '3.12'",
    "a @ https://h/a-1.0-py3-none-any.whl#sha256=00",
    "a @ https://h/group/a/archive/abc.tar.gz ; sys_platform == 'linux'",
    f"a @ git+https://h/group/a.git@{COMMIT}",
    f"a[b] @ git+https://h/group/a.git@{COMMIT}#subdirectory=python",
]
REFUSED = {
    "-e .": BY_FILE,
    "--editable=/srv/acme": BY_FILE,
    "-r requirements.txt": "splitlines()",
    "-c constraints.txt": "such as numpy<2",
    "--constraint constraints.txt": "such as numpy<2",
    "--extra-index-url https://h/simple": "airflow_runtime_extra_index_urls",
    "-i https://h/simple": "airflow_runtime_extra_index_urls",
    "--find-links /srv": BY_FILE,
    "--pre": "pre-release",
    "--no-binary :all:": "pip requirements",
    "./wheels/a-1.0-py3-none-any.whl": BY_FILE,
    "../a": BY_FILE,
    "/srv/a-1.0-py3-none-any.whl": BY_FILE,
    "wheels/a-1.0-py3-none-any.whl": BY_FILE,
    "a b": "pip requirements",
    "a==1 --hash=sha256:00": "pip requirements",
    "apache-airflow==3.3.1": "airflow_version",
    "Apache_Airflow @ https://h/apache_airflow-3.3.1-py3-none-any.whl": "airflow_version",
    f"git+https://h/a.git@{COMMIT}": BY_COMMIT,
    "a @ git+https://h/a.git": BY_COMMIT,
    "a @ git+https://h/a.git@main": BY_COMMIT,
    f"a @ git+https://h/a.git@{COMMIT[:12]}": BY_COMMIT,
    f"a @ git+ssh://git@h/a.git@{COMMIT}": "without a login",
    f"a @ git+ssh://h/a.git@{COMMIT}": BY_COMMIT,
    f"a @ git+file:///srv/a@{COMMIT}": BY_COMMIT,
    f"a @ git+https://token@h/a.git@{COMMIT}": "without a login",
    "a @ https://user:s3cret@h/a-1.0-py3-none-any.whl": "airflow_runtime_extra_index_urls",
    "a @ https://h/${TOKEN}/a-1.0-py3-none-any.whl": "environment variables",
    "a @ https://h/a": "the URL of a file",
    "a @ ftp://h/a-1.0-py3-none-any.whl": BY_FILE,
    "a @ file:a-1.0-py3-none-any.whl": BY_FILE,
    "a @ file:///nowhere/a-1.0-py3-none-any.whl": "a file on the controller",
    "a @ file:///srv": "not a directory",
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: str) -> None:
    assert requirements.problem(text) is None


@pytest.mark.parametrize(("text", "expected"), REFUSED.items())
def test_refused_with_what_to_write_instead(text: str, expected: str) -> None:
    problem = requirements.problem(text) or ""
    assert expected in problem
    assert "s3cret" not in problem


def test_a_file_of_the_controller_is_a_distribution_of_that_name(tmp_path: Path) -> None:
    wheel = tmp_path / "acme_etl-1.0-py3-none-any.whl"
    wheel.write_bytes(b"")
    misnamed = tmp_path / "acme.whl"
    misnamed.write_bytes(b"")
    source = tmp_path / "acme etl-1.0.tar.gz"
    source.write_bytes(b"")
    assert requirements.problem(f"acme.etl @ {wheel.as_uri()}") is None
    assert requirements.problem(f"acme-etl @ {source.as_uri()}") is None
    assert "is one of acme-etl" in (requirements.problem(f"other @ {wheel.as_uri()}") or "")
    assert "the name that it was built with" in (requirements.problem(f"acme @ {misnamed.as_uri()}") or "")


def test_a_lock_depends_on_the_content_of_files(tmp_path: Path) -> None:
    wheel = tmp_path / "a-1.0-py3-none-any.whl"
    wheel.write_bytes(b"one")
    inputs = [f"a @ {wheel.as_uri()}", "b", "a"]
    before = requirements.lock_inputs(inputs)
    wheel.write_bytes(b"two")
    after = requirements.lock_inputs(inputs)
    assert before != after
    # What names no file is itself, so that a lock that a site has committed stays the one for its requirements.
    assert requirements.lock_inputs(["b", "a>=1"]) == ["a>=1", "b"]
