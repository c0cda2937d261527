"""Do one step of a rotation to the secrets file. See plugins/modules/rotate_secrets.py for the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils import rotation, secret_values
from ansible_collections.airflow_celery.cluster.plugins.plugin_utils.secrets_file import SecretsFile


class ActionModule(ActionBase):
    """Read the file, do the step unless it is done, write the file."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec={
                "inventory_dir": {"type": "path", "required": True},
                "step": {"type": "str", "required": True, "choices": list(rotation.STEPS)},
                "names": {"type": "list", "elements": "str", "default": []},
            }
        )
        file = SecretsFile(Path(arguments["inventory_dir"]), self._loader._vault.secrets)
        foreign = secret_values.foreign((task_vars or {}).get("groups", {}))
        every = [name for name in secret_values.GENERATORS if name not in {*secret_values.NOT_ROTATED, *foreign}]
        names = every if arguments["names"] == ["all"] else arguments["names"]
        try:
            before = rotation.state(file.text)
            text = self._done(file.text, before, arguments["step"], names, foreign)
        except rotation.RotationError as error:
            raise AnsibleActionFail(f"{file.path}: {error}. Nothing was changed.") from None
        if text != file.text and not self._task.check_mode:
            file.write(text, encrypt=file.was_encrypted)
        return result | {
            "changed": text != file.text,
            "path": str(file.path),
            "resumed": arguments["step"] == "begin" and before != "none",
            # What the last step removes was being rotated until then.
            "rotating": rotation.rotating(text) or rotation.rotating(file.text),
        }

    @staticmethod
    def _done(text: str, state: rotation.State, step: str, names: list[str], foreign: list[str]) -> str:
        """Return the text after the step; a step that an interrupted run has completed is not repeated."""
        if step == "begin" and state == "none":
            return rotation.begin(text, names, foreign)
        if step == "switch" and state == "begun":
            return rotation.switch(text)
        if step == "retire" and state == "switched":
            return rotation.retire(text)
        return text
