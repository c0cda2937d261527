"""The project's SSH settings restrict no login that Ansible supports, and keep silent connections alive."""

from __future__ import annotations

import subprocess
from configparser import ConfigParser
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / "ansible.cfg"
# What a site may use: a key, a password with --ask-pass, Kerberos, the login of the host.
LOGINS = ("pubkeyauthentication", "passwordauthentication", "kbdinteractiveauthentication", "hostbasedauthentication")


def options(arguments: list[str]) -> dict[str, str]:
    """Return what ssh makes of its arguments, without the user's own configuration."""
    command = ["ssh", "-F", "/dev/null", "-G", *arguments, "host.example.org"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)


def settings() -> list[str]:
    config = ConfigParser(interpolation=None)
    config.read(CONFIG)
    section = config["ssh_connection"]
    assert "ssh_common_args" not in section
    return section["ssh_args"].split()


def test_no_login_is_restricted() -> None:
    ours, plain = options(settings()), options([])
    login = [name for name in plain.keys() | ours.keys() if name in LOGINS or "auth" in name or "gssapi" in name]
    assert set(LOGINS) <= set(login)
    assert {name: ours.get(name) for name in login} == {name: plain.get(name) for name in login}
    assert ours["batchmode"] == "no"


def test_a_silent_connection_is_kept_alive() -> None:
    ours = options(settings())
    # The shortest idle timeout that is usual is that of a NAT gateway: 350 s.
    assert 0 < int(ours["serveraliveinterval"]) <= 120
    assert int(ours["serveraliveinterval"]) * int(ours["serveralivecountmax"]) >= 120
