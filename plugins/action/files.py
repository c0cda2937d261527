"""Render the files on the controller, and have the module of this name write them. See plugins/modules/files.py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.text.converters import to_bytes
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.template import generate_ansible_template_vars, trust_as_template
from ansible_collections.airflow_celery.cluster.plugins.module_utils.file_contents import packed

OPTIONS = ("files", "owner", "group", "mode")
# Where the content of a file comes from.
SOURCES = ("template", "content", "copy")
# Options of a file that the module on the host needs.
SENT = ("dest", "state", "target", "owner", "group", "mode", "secret", "validate")
KNOWN = {*SENT, *SOURCES, "vars", "when"}
# As ansible.builtin.template.
OVERRIDES = {"trim_blocks": True, "lstrip_blocks": False, "newline_sequence": "\n"}


class ActionModule(ActionBase):
    """One run of the module for all files."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        host = str(self._task.delegate_to or variables.get("inventory_hostname", ""))
        arguments = self._task.args
        if unknown := sorted(set(arguments) - set(OPTIONS)):
            raise AnsibleActionFail(f"{host}: {', '.join(unknown)}: unknown; expected: {', '.join(OPTIONS)}")
        files = arguments.get("files")
        if not isinstance(files, list):
            raise AnsibleActionFail(f"{host}: files: {type(files).__name__}; expected: a list")
        entries: list[dict[str, Any]] = []
        contents: list[bytes] = []
        # A list in the list, such as one that a variable computes, counts as its elements.
        flat = [file for part in files for file in (part if isinstance(part, list) else [part])]
        for number, file in enumerate(flat, 1):
            self._check(host, number, file)
            if not boolean(file.get("when", True)):
                continue
            entries.append({key: file[key] for key in SENT if file.get(key) is not None})
            # By position: an entry without content has an empty one.
            contents.append(self._content(host, file, variables))
        given = {key: arguments[key] for key in ("owner", "group", "mode") if arguments.get(key) is not None}
        seen = self._execute_module(
            module_args={**given, "files": entries, "contents": packed(contents)}, task_vars=task_vars
        )
        if seen.get("failed") and "msg" in seen:
            seen["msg"] = f"{host}: {seen['msg']}"
        return result | seen

    def _check(self, host: str, number: int, file: object) -> None:
        """Fail if a file is not described as it should be."""
        if not isinstance(file, Mapping):
            raise AnsibleActionFail(f"{host}: file {number}: {type(file).__name__}; expected: a dictionary")
        place = f"{host}: {file.get('dest') or f'file {number}'}"
        if not os.path.isabs(str(file.get("dest") or "")):
            raise AnsibleActionFail(f"{place}: dest {file.get('dest')!r}; expected: an absolute path")
        if unknown := sorted(str(key) for key in set(file) - KNOWN):
            raise AnsibleActionFail(f"{place}: {', '.join(unknown)}: unknown; expected: {', '.join(sorted(KNOWN))}")
        sources = [source for source in SOURCES if file.get(source) is not None]
        state = file.get("state") or "file"
        if state == "file" and len(sources) != 1:
            raise AnsibleActionFail(
                f"{place}: {', '.join(sources) or 'no content'}; expected: one of {', '.join(SOURCES)}"
            )
        if (state == "link") != (file.get("target") is not None):
            raise AnsibleActionFail(f"{place}: state {state}, target {file.get('target')}; expected: one of a link")
        if state != "file" and sources:
            raise AnsibleActionFail(f"{place}: state {state} with {', '.join(sources)}; expected: no content")

    def _content(self, host: str, file: Mapping[str, Any], variables: dict[str, Any]) -> bytes:
        """Return the content of a file, empty for what is no file."""
        if (file.get("state") or "file") != "file":
            return b""
        place = f"{host}: {file['dest']}"
        if file.get("content") is not None:
            if not isinstance(file["content"], str):
                raise AnsibleActionFail(f"{place}: content is no text; expected: a text")
            return to_bytes(file["content"])
        problem = ""
        try:
            if file.get("template") is not None:
                return self._rendered(file, variables)
            real = self._loader.get_real_file(self._find_needle("files", file["copy"]))
            try:
                return Path(real).read_bytes()
            finally:
                self._loader.cleanup_tmp_file(real)
        except AnsibleError as error:
            problem = type(error).__name__ if boolean(file.get("secret", False)) else str(error)
        # Outside of the handler: Ansible would print the first error as the cause, and a filter may quote a secret.
        name = file.get("template") or file["copy"]
        raise AnsibleActionFail(f"{place}: {name}: {problem}; expected: a file that can be read and rendered")

    def _rendered(self, file: Mapping[str, Any], variables: dict[str, Any]) -> bytes:
        """Return the text of a template as ansible.builtin.template renders it."""
        source = self._find_needle("templates", file["template"])
        known = {**variables, **(file.get("vars") or {})}
        about = generate_ansible_template_vars(path=file["template"], fullpath=source, dest_path=file["dest"])
        # One that the user has set wins.
        known = {**known, **about, **{key: known[key] for key in ("ansible_managed",) if key in known}}
        places = [*variables.get("ansible_search_path", []), self._loader.get_basedir(), os.path.dirname(source)]
        templar = self._templar.copy_with_new_env(
            searchpath=[path for place in places for path in (os.path.join(place, "templates"), place)],
            available_variables=known,
        )
        text = trust_as_template(self._loader.get_text_file_contents(source))
        rendered = templar.template(text, escape_backslashes=False, overrides=OVERRIDES)
        return to_bytes("" if rendered is None else rendered, nonstring="simplerepr")
