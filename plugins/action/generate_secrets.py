"""Make missing secrets on the controller. See plugins/modules/generate_secrets.py for the documentation."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsiblePromptNoninteractive
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import secret_values
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.secrets_file import MODE, SecretsFile


class ActionModule(ActionBase):
    """Find out what is missing, and write it."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec={
                "inventory_dir": {"type": "path", "required": True},
                "plaintext": {"type": "bool", "default": False},
            }
        )
        file = SecretsFile(Path(arguments["inventory_dir"]), self._loader._vault.secrets)
        result["path"] = str(file.path)
        missing = secret_values.missing(defined_names(task_vars or {}))
        # A file that was encrypted stays encrypted, whatever the run says.
        encrypt = file.was_encrypted or (file.has_vault_password and not arguments["plaintext"])
        must_write = bool(missing) or (not file.is_empty and encrypt and not file.was_encrypted)
        wrong_mode = file.has_wrong_mode
        if must_write and not encrypt and not arguments["plaintext"]:
            raise AnsibleActionFail(
                f"{file.path} is not written: it would hold {', '.join(missing)} in clear. Expected: a vault password. "
                "Fix: add --ask-vault-pass or --vault-password-file <file>, here and to every later run; for "
                "machines that nobody else can reach, -e airflow_secrets_plaintext=true"
            )
        if not self._task.check_mode:
            if must_write:
                if encrypt and not file.was_encrypted:
                    confirm(file)
                file.write(secret_values.with_missing(file.text, missing), encrypt)
            elif wrong_mode:
                file.path.chmod(MODE)
        return result | {
            "changed": must_write or wrong_mode,
            "generated": missing,
            "encrypted": encrypt if must_write else file.was_encrypted,
        }


def confirm(file: SecretsFile) -> None:
    """Ask again for a vault password that was typed: with a mistake in it nobody could read the new file."""
    # Without a terminal nobody has typed it.
    with contextlib.suppress(AnsiblePromptNoninteractive):
        if (typed := file.typed_password) and typed != Display().prompt_until(
            "Confirm the vault password: ", private=True
        ):
            raise AnsibleActionFail(
                f"{file.path} is not written. Expected: the same vault password twice. Fix: run the playbook again"
            )


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
    """Return whether a variable is set to nothing."""
    return value is None or (isinstance(value, str) and value == "")
