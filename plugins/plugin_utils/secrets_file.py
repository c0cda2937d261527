"""The file that holds the cluster's secrets, on the controller."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.parsing.vault import PromptVaultSecret, VaultLib, is_encrypted, match_encrypt_secret
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import secret_values

MODE = 0o600


class SecretsFile:
    """``group_vars/all/secrets.yml`` beside an inventory: its text in clear, and how it is kept.

    :param inventory_dir: directory of the inventory.
    :param vault_secrets: the vault passwords of the run, as Ansible's loader has them.
    Raises AnsibleActionFail when Ansible would not read such a file.
    """

    def __init__(self, inventory_dir: Path, vault_secrets: list[Any]) -> None:
        problem = secret_values.layout_problem(inventory_dir)
        if problem:
            raise AnsibleActionFail(f"The secrets cannot be kept. Expected: {problem[0]}. Fix: {problem[1]}")
        self.path = (inventory_dir / "group_vars" / "all" / "secrets.yml").resolve()
        self._vault = VaultLib(vault_secrets)
        raw = self.path.read_bytes() if self.path.exists() else b""
        self.is_empty = not raw
        self.was_encrypted = is_encrypted(raw)
        self.text: str = self._vault.decrypt(raw).decode("utf-8") if self.was_encrypted else raw.decode("utf-8")

    @property
    def has_vault_password(self) -> bool:
        """Whether the run has a vault password."""
        return bool(self._vault.secrets)

    @property
    def typed_password(self) -> bytes:
        """The vault password with which the file would be encrypted, if somebody has typed it; else nothing."""
        _vault_id, secret = self._encryption()
        return secret.bytes if isinstance(secret, PromptVaultSecret) else b""

    @property
    def has_wrong_mode(self) -> bool:
        """Whether others than its owner may read it."""
        return not self.is_empty and stat.S_IMODE(self.path.stat().st_mode) != MODE

    def write(self, text: str, encrypt: bool) -> None:
        """Replace the file in one step: an interrupted run leaves the old file or the new one."""
        content = self._encrypted(text) if encrypt else text.encode("utf-8")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".secrets-")
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), MODE)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise

    def _encryption(self) -> tuple[str, Any]:
        """Return the id and the password that `ansible-vault encrypt` would take, for the same options."""
        wanted = constants.config.get_config_value("DEFAULT_VAULT_ENCRYPT_IDENTITY")
        found: tuple[str, Any] = match_encrypt_secret(self._vault.secrets, encrypt_vault_id=wanted)
        return found

    def _encrypted(self, text: str) -> bytes:
        vault_id, secret = self._encryption()
        named = vault_id != constants.config.get_config_value("DEFAULT_VAULT_IDENTITY")
        return bytes(self._vault.encrypt(text, secret, vault_id=vault_id if named else None))
