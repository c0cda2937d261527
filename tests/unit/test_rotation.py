"""What a rotation of secrets does to the secrets file, and what is accepted meanwhile."""

from __future__ import annotations

import base64
import json

import pytest
import yaml
from ansible_collections.airflow_celery.cluster.plugins.filter import rotation as filters
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import rotation, secret_values

NAMES = sorted(set(secret_values.GENERATORS) - set(secret_values.NOT_ROTATED))


@pytest.fixture
def text() -> str:
    """A secrets file as playbooks/secrets.yml makes it, and as a person might have touched it."""
    made = secret_values.with_missing("", secret_values.GENERATORS)
    return made + "# mine\nother: [1,\n  2]\n"


def values(text: str) -> dict[str, object]:
    return yaml.safe_load(text)


def test_all_secrets_go_round(text: str) -> None:
    begun = rotation.begin(text, NAMES)
    switched = rotation.switch(begun)
    retired = rotation.retire(switched)
    old, fresh = values(text), values(begun)[rotation.NEXT]
    assert isinstance(fresh, dict)
    assert [rotation.state(step) for step in (text, begun, switched, retired)] == ["none", "begun", "switched", "none"]
    assert {name: values(begun)[name] for name in NAMES} == {name: old[name] for name in NAMES}
    for name in NAMES:
        assert fresh[name] != old[name]
        assert secret_values.problem(name, fresh[name]) is None
        assert values(switched)[name] == values(retired)[name] == fresh[name]
    previous = values(switched)[rotation.PREVIOUS]
    assert previous == {name: old[name] for name in NAMES} | {
        "airflow_database_user": "airflow",
        "airflow_results_user": "celery",
    }
    assert rotation.rotating(text) == []
    assert rotation.rotating(begun) == rotation.rotating(switched) == NAMES
    assert not {rotation.NEXT, rotation.PREVIOUS} & values(retired).keys()


def test_what_is_not_rotated_stays_as_it_is(text: str) -> None:
    retired = rotation.retire(rotation.switch(rotation.begin(text, ["airflow_jwt_secret"])))
    before, after = text.splitlines(), retired.splitlines()
    assert len(before) == len(after)
    assert [b.split(":")[0] for b, a in zip(before, after, strict=True) if b != a] == ["airflow_jwt_secret"]


def test_a_database_moves_from_one_login_to_the_other_and_back(text: str) -> None:
    users = []
    for _ in range(3):
        text = rotation.retire(rotation.switch(rotation.begin(text, ["airflow_database_password"])))
        users.append(values(text)["airflow_database_user"])
    assert users == ["airflow_b", "airflow", "airflow_b"]


def test_a_value_of_several_lines_is_replaced_as_a_whole() -> None:
    key = secret_values.fernet_key()
    text = f"---\nairflow_fernet_key: >-\n  {key}\n\nflower_password: 'it is mine'\n"
    retired = rotation.retire(rotation.switch(rotation.begin(text, ["airflow_fernet_key"])))
    assert values(retired)["airflow_fernet_key"] != key
    assert values(retired)["flower_password"] == "it is mine"


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("a: b\n", ["airflow_jwt_secrets"], "airflow_jwt_secrets is no secret of the cluster"),
        ("a: b\n", ["airflow_jwt_secret"], "airflow_jwt_secret has no plain value in the secrets file"),
        ("airflow_jwt_secret: !vault |\n  $ANSIBLE_VAULT;1.1\n", ["airflow_jwt_secret"], "no plain value"),
        ("- a\n", ["airflow_jwt_secret"], "no plain value"),
        ("a: b\n", [], "no secret was named"),
    ],
)
def test_what_cannot_be_rotated_is_said(text: str, names: list[str], expected: str) -> None:
    with pytest.raises(rotation.RotationError, match=expected):
        rotation.begin(text, names)


def test_accepted_is_the_present_one_first() -> None:
    assert filters.accepted("now", "s", [{}, {}]) == ["now"]
    assert filters.accepted("now", "s", [{"s": "next"}, {}]) == ["now", "next"]
    assert filters.accepted("now", "s", [{"s": "now"}, {"s": "old", "t": "x"}]) == ["now", "old"]


def test_logins_are_the_present_one_first() -> None:
    now, other = {"name": "a", "password": "1"}, {"name": "a_b", "password": "2"}
    rotating = {"d_user": "a_b", "d_password": "2"}
    assert filters.accepted_logins("a", "1", "d", [{}, {"e_password": "3"}]) == [now]
    assert filters.accepted_logins("a", "1", "d", [rotating, {}]) == [now, other]
    assert filters.accepted_logins("a_b", "2", "d", [rotating, {"d_user": "a", "d_password": "1"}]) == [other, now]


def test_a_key_set_holds_each_key_under_its_name() -> None:
    old, new = secret_values.signing_key(), secret_values.signing_key()
    keys = json.loads(filters.json_web_keys([new, old]))["keys"]
    assert [key["kid"] for key in keys] == [filters.key_id(new), filters.key_id(old)]
    assert [(key["kty"], key["alg"]) for key in keys] == [("oct", "HS512")] * 2
    assert [base64.urlsafe_b64decode(key["k"] + "=" * (-len(key["k"]) % 4)).decode() for key in keys] == [new, old]
    assert filters.key_id(old) not in old


def test_the_passphrase_of_the_backups_is_left_alone_and_the_refusal_says_what_to_do(text: str) -> None:
    with pytest.raises(rotation.RotationError, match="backup_repository"):
        rotation.begin(text, ["backup_passphrase"])
    assert "backup_passphrase" not in rotation.rotating(rotation.begin(text, NAMES))
