"""Settings of systemd that restrict every unit of the collection: docs/sandbox.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# None leaves a setting out. Left out for all: RemoveIPC, as units may share a user, and the end of one would remove the
# IPC objects of the others; PrivateUsers, which many a container refuses; PrivateNetwork and IPAddressDeny, as the
# units are network services.
SETTINGS: Mapping[str, Any] = {
    "NoNewPrivileges": True,
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    # Nothing is writable but the unit's own StateDirectory, CacheDirectory and its own /tmp.
    "ProtectSystem": "strict",
    "ProtectHome": True,
    "PrivateTmp": True,
    "PrivateDevices": True,
    "PrivateIPC": True,
    "ProtectClock": True,
    "ProtectControlGroups": True,
    "ProtectHostname": True,
    "ProtectKernelLogs": True,
    "ProtectKernelModules": True,
    "ProtectKernelTunables": True,
    # Not ProcSubset=pid: psutil reads the time of boot in /proc/stat.
    "ProtectProc": "invisible",
    "LockPersonality": True,
    "MemoryDenyWriteExecute": True,
    "RestrictRealtime": True,
    "RestrictSUIDSGID": True,
    "RestrictNamespaces": True,
    # Netlink is how a name is resolved and an interface is found.
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "SystemCallArchitectures": "native",
    # A refused call is an error to the program, as it is to any user who is not root, and does not kill it.
    "SystemCallErrorNumber": "EPERM",
    "SystemCallFilter": ["@system-service", "~@privileged @resources"],
    "UMask": "0077",
}


def sandboxed(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the sandbox with those of a unit laid over them."""
    return {**SETTINGS, **own}
