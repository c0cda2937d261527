"""Which updates there are, and why to reboot."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.airflow_celery.cluster.plugins.modules import os_updates

SIMULATED = """\
NOTE: This is only a simulation!
Inst base-files [12.4+deb12u11] (12.4+deb12u15 Debian:12.15/oldstable [amd64])
Inst libgcrypt20 [1.10.1-3] (1.10.1-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst liblzma5 [5.4.1-1] (5.4.1-1+deb12u2 Debian-Security:12/oldstable-security [amd64])
Inst linux-image-6.12.9-amd64 (6.12.9-1 Debian-Security:13/stable-security [amd64])
Inst linux-image-amd64 [6.12.8-1] (6.12.9-1 Debian-Security:13/stable-security [amd64])
Inst security-tool [1] (2 Example:1/security-tools [all])
Conf liblzma5 (5.4.1-1+deb12u2 Debian-Security:12/oldstable-security [amd64])
"""


@pytest.mark.parametrize(
    ("upgrade", "expected"),
    [
        ("security", ["libgcrypt20", "liblzma5", "linux-image-amd64"]),
        ("full", ["base-files", "libgcrypt20", "liblzma5", "linux-image-amd64", "security-tool"]),
    ],
)
def test_updates_are_those_of_installed_packages(upgrade: str, expected: list[str]) -> None:
    assert os_updates.updates(SIMULATED, upgrade) == expected


def test_nothing_to_do_is_nothing() -> None:
    assert os_updates.updates("0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n", "full") == []


def test_replaced_libraries_are_those_of_the_distribution() -> None:
    line = "7f1f54a00000-7f1f54a28000 r--p 00000000 fe:00 26723                      "
    maps = "\n".join(
        line + file
        for file in (
            "/usr/lib/x86_64-linux-gnu/libc.so.6 (deleted)",
            "/usr/lib/x86_64-linux-gnu/libz.so.1.2.13",
            "/opt/airflow/releases/1/lib/python3.13/site-packages/x/y.so (deleted)",
            "/tmp/lib.so (deleted)",
            "/memfd:lib.so (deleted)",
        )
    )
    assert os_updates.replaced_libraries(maps) == {"/usr/lib/x86_64-linux-gnu/libc.so.6"}


def test_a_kernel_that_came_after_the_boot_is_new(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz-6.12.9-amd64").touch()
    (tmp_path / "config-6.12.9-amd64").touch()
    now = time.time()
    assert os_updates.new_kernels(now - 60, str(tmp_path)) == ["6.12.9-amd64"]
    assert os_updates.new_kernels(now + 60, str(tmp_path)) == []
    assert os_updates.new_kernels(0, str(tmp_path / "none")) == []


def test_this_machine_has_booted_once() -> None:
    assert 0 < os_updates.boot_time(Path("/proc/stat").read_text()) < time.time()


def test_reasons_are_told_in_words() -> None:
    libraries = [f"/usr/lib/lib{name}.so" for name in "abcd"]
    assert os_updates.reboot_reasons(False, [], []) == []
    assert os_updates.reboot_reasons(True, ["6.12.9-amd64"], libraries) == [
        "/run/reboot-required exists",
        "kernel 6.12.9-amd64 was installed",
        "running processes use replaced libraries: liba.so, libb.so, libc.so and 1 more",
    ]
