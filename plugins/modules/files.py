#!/usr/bin/python
"""Bring files and directories of a host to their state."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: files
short_description: Ensure files and directories of a host in one run
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Ensures content, owner, group and mode of any number of files and directories. One task with this module replaces a
    sequence of tasks with M(ansible.builtin.file), M(ansible.builtin.template) and M(ansible.builtin.copy), each of
    which starts an interpreter on the host.
  - The action plugin renders all templates on the controller before the first file is written, as
    M(ansible.builtin.template) does.
  - A file is replaced in one step, with its owner and its mode. An interrupted run leaves the previous file or the new
    one. The modification time changes with the content only.
options:
  files:
    description:
      - Files and directories, in the order in which they are ensured.
      - An element that is a list counts as its elements.
    type: list
    elements: dict
    required: true
    suboptions:
      dest:
        description: Absolute path on the host. The directory above must exist or come earlier in the list.
        type: path
        required: true
      state:
        description:
          - V(absent) removes a directory with its content.
          - V(link) is a symbolic link to O(files[].target). A link that points elsewhere is replaced in one step.
        type: str
        choices: [file, directory, link, absent]
        default: file
      target:
        description: What a link points to, absolute or relative to the directory of the link. It need not exist.
        type: str
      template:
        description:
          - Name of a template of the role.
          - A file has exactly one of O(files[].template), O(files[].content) and O(files[].copy).
        type: str
      content:
        description:
          - The text of the file.
          - Callback plugins receive the arguments of a task. Use O(files[].template) for a secret.
        type: str
      copy:
        description: Name of a file of the role, or absolute path of a file of the controller.
        type: path
      vars:
        description: Variables of O(files[].template), besides those of the task.
        type: dict
      when:
        description: Whether the element counts.
        type: bool
        default: true
      secret:
        description: Whether the content must not be shown. Then there is no diff, and an error does not quote values.
        type: bool
        default: false
      validate:
        description:
          - Command that must succeed before the file is replaced. V(%s) is the path of the new file.
          - Not run in check mode.
        type: str
      owner:
        description:
          - User, by name or number. The default is O(owner).
          - In check mode, a user that does not exist yet is accepted.
        type: str
      group:
        description:
          - Group, by name or number. The default is O(group).
          - In check mode, a group that does not exist yet is accepted.
        type: str
      mode:
        description:
          - Mode as an octal number. Default is O(mode). Required unless the state is V(absent) or V(link).
          - A link has no owner, group or mode of its own.
        type: str
  owner:
    description: Owner of the files that name none. Without it the owner of a file stays.
    type: str
  group:
    description: Group of the files that name none. Without it the group of a file stays.
    type: str
  mode:
    description: Mode of the files and directories that name none.
    type: str
  contents:
    description: The contents of the files. The action plugin sets it.
    type: str
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
  diff_mode:
    description: Whether the module returns what changes.
    support: full
"""

EXAMPLES = r"""
- name: Ensure the files of the proxy
  airflow_celery.cluster.files:
    mode: "0644"
    files:
      - {dest: /etc/proxy, state: directory, mode: "0755"}
      - {dest: /etc/proxy/proxy.cfg, template: proxy.cfg.j2, validate: proxy -c -f %s}
      - {dest: /etc/proxy/password, content: "{{ proxy_password }}", secret: true, owner: proxy, mode: "0400"}
      - {dest: /etc/proxy/current, state: link, target: releases/2}
      - {dest: /etc/proxy/old.cfg, state: absent}
"""

RETURN = r"""
changed_files:
  description: Paths of the files and directories that changed, or would change in check mode.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.file_contents import unpacked
from ansible_collections.airflow_celery.cluster.plugins.module_utils.managed_files import Files


def main() -> None:
    """Ensure the files, one after the other."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "dest": {"type": "path", "required": True},
                    "state": {"type": "str", "choices": ["file", "directory", "link", "absent"], "default": "file"},
                    "target": {"type": "str"},
                    "template": {"type": "str"},
                    "content": {"type": "str", "no_log": True},
                    "copy": {"type": "path"},
                    "vars": {"type": "dict", "no_log": True},
                    "when": {"type": "bool", "default": True},
                    "secret": {"type": "bool", "default": False, "no_log": False},
                    "validate": {"type": "str"},
                    "owner": {"type": "str"},
                    "group": {"type": "str"},
                    "mode": {"type": "str"},
                },
            },
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "mode": {"type": "str"},
            "contents": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    entries: list[dict[str, Any]] = module.params["files"]
    contents = unpacked(module.params["contents"] or "")
    if len(contents) != len(entries):
        module.fail_json(
            msg=f"{len(contents)} contents for {len(entries)} files; expected: a call by the action plugin"
        )
    files = Files(module)
    # All of them first: a wrong one must not leave half of the files written.
    wanted = [files.attributes(entry) for entry in entries]
    for entry, attributes, content in zip(entries, wanted, contents, strict=True):
        try:
            if entry["state"] == "absent":
                files.absent(entry)
            elif entry["state"] == "directory":
                files.directory(entry, attributes)
            elif entry["state"] == "link":
                files.link(entry)
            else:
                files.regular(entry, attributes, content)
        except OSError as error:
            files.fail(entry["dest"], f"{error.strerror}; expected: state {entry['state']} can be ensured")
    result: dict[str, Any] = {"changed": bool(files.changed), "changed_files": files.changed}
    if module._diff:
        result["diff"] = files.diffs
    module.exit_json(**result)


if __name__ == "__main__":
    main()
