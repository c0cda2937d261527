"""Make missing secrets on the controller. See plugins/modules/generate_secrets.py for the documentation."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.parsing.vault import VaultLib, is_encrypted, match_encrypt_secret
from ansible.plugins.action import ActionBase
from ansible_collections.airflow_celery.cluster.plugins.module_utils import secret_values

MODE = 0o600


class ActionModule(ActionBase):
    """Find out what is missing, and write it."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "inventory_dir": {"type": "path", "required": True},
                "plaintext": {"type": "bool", "default": False},
            }
        )
        directory = Path(arguments["inventory_dir"])
        path = (directory / "group_vars" / "all" / "secrets.yml").resolve()
        result["path"] = str(path)
        problem = secret_values.layout_problem(directory)
        if problem:
            raise AnsibleActionFail(f"The secrets cannot be kept. Expected: {problem[0]}. Mend it: {problem[1]}")

        missing = secret_values.missing(defined_names(task_vars or {}))
        vault = VaultLib(self._loader._vault.secrets)
        raw = path.read_bytes() if path.exists() else b""
        was_encrypted = is_encrypted(raw)
        text = vault.decrypt(raw).decode("utf-8") if was_encrypted else raw.decode("utf-8")
        # A file that was encrypted stays encrypted, whatever the run says.
        encrypt = was_encrypted or (bool(vault.secrets) and not arguments["plaintext"])
        must_write = bool(missing) or (bool(raw) and encrypt and not was_encrypted)
        wrong_mode = bool(raw) and stat.S_IMODE(path.stat().st_mode) != MODE
        if must_write and not encrypt and not arguments["plaintext"]:
            raise AnsibleActionFail(
                f"{path} is not written: it would hold {', '.join(missing)} in clear. Expected: a vault password. "
                "Mend it: add --ask-vault-pass or --vault-password-file <file>, here and to every later run; for "
                "machines that nobody else can reach, -e airflow_secrets_plaintext=true"
            )
        if not self._task.check_mode:
            if must_write:
                clear = secret_values.with_missing(text, missing)
                write(path, encrypted(vault, clear) if encrypt else clear.encode("utf-8"))
            elif wrong_mode:
                path.chmod(MODE)
        return result | {
            "changed": must_write or wrong_mode,
            "generated": missing,
            "encrypted": encrypt if must_write else was_encrypted,
        }


def defined_names(task_vars: Mapping[str, Any]) -> set[str]:
    """Return the secrets that any host of the inventory has, empty ones left out."""
    hostvars, names = task_vars["hostvars"], task_vars["groups"]["all"]
    found: set[str] = set()
    for host in names:
        raw = hostvars.raw_get(host)
        # A vaulted value is not rendered here: that it is there is all that matters.
        found |= {name for name in secret_values.GENERATORS if name in raw and not is_empty(raw[name])}
    return found


def is_empty(value: Any) -> bool:
    """Say whether a variable is set to nothing."""
    return value is None or (isinstance(value, str) and value == "")


def encrypted(vault: VaultLib, text: str) -> bytes:
    """Return the text encrypted as `ansible-vault encrypt` would, for the same options."""
    wanted = constants.config.get_config_value("DEFAULT_VAULT_ENCRYPT_IDENTITY")
    vault_id, secret = match_encrypt_secret(vault.secrets, encrypt_vault_id=wanted)
    named = vault_id != constants.config.get_config_value("DEFAULT_VAULT_IDENTITY")
    return bytes(vault.encrypt(text, secret, vault_id=vault_id if named else None))


def write(path: Path, content: bytes) -> None:
    """Replace a file in one step: a run that is broken off leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
