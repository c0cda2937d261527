"""How the types of Airflow's options are found in its source."""

from __future__ import annotations

import airflow_options
import pytest


@pytest.mark.parametrize(
    ("described", "source", "kind"),
    [
        ("integer", "", "integer"),
        ("string", "", None),
        ("string", 'conf.get("core", "x")', None),
        # The description says text for what is read from a file.
        ("string", 'conf.getboolean("core", "x")', "boolean"),
        (None, 'conf.getjson("CORE", "X", fallback=[])', "json"),
        ("integer", 'conf.getfloat("core", "x")', "float"),
        ("float", 'conf.getint(section="core", key="x")', "integer"),
        ("float", 'conf.getfloat("core", "x"); conf.getint("core", "x")', "integer"),
        # Another text than a truth value has a meaning, too.
        ("string", 'conf.get("core", "x") == "some" or conf.getboolean("core", "x")', None),
        ("boolean", 'conf.get("core", "x") and conf.getboolean("core", "x")', "boolean"),
        ("string", 'conf.getint("core", "y"); conf.getint(section, "x"); getint("core", "x")', None),
    ],
)
def test_the_type_of_an_option_is_how_airflow_reads_it(described: str | None, source: str, kind: str | None) -> None:
    found = airflow_options.types_of({"core.x": described}, [source])
    assert found == ({"core.x": kind} if kind else {})
