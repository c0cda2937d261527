#!/usr/bin/python
"""Pack a directory into an archive."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: tree_archive
short_description: Pack a directory into an archive
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Packs what the lookup P(airflow_celery.cluster.tree_hash#lookup) takes the fingerprint of, so that archive and
    fingerprint are of the same files.
  - Gives each directory and each executable file the mode C(0755), and each other file C(0644). Symbolic links become
    what they point to.
  - Leaves an archive that exists alone. Name it after the fingerprint.
options:
  path:
    description: Directory to pack.
    type: path
    required: true
  dest:
    description: Archive to write, a gzipped tar.
    type: path
    required: true
attributes:
  check_mode:
    description: Whether the module runs in check mode, predicts the change and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Pack the DAGs
  airflow_celery.cluster.tree_archive:
    path: dags
    dest: /tmp/dags-{{ lookup('airflow_celery.cluster.tree_hash', 'dags') }}.tar.gz
  delegate_to: localhost
"""

RETURN = r"""
dest:
  description: The archive.
  returned: always
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.airflow_celery.cluster.plugins.module_utils.tree import TreeError, archive_tree


def main() -> None:
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "dest": {"type": "path", "required": True}},
        supports_check_mode=True,
    )
    root, archive = Path(module.params["path"]), Path(module.params["dest"])
    changed = not archive.exists()
    if changed and not module.check_mode:
        archive.parent.mkdir(parents=True, exist_ok=True)
        try:
            archive_tree(root, archive)
        except TreeError as error:
            module.fail_json(msg=str(error))
    module.exit_json(changed=changed, dest=str(archive))


if __name__ == "__main__":
    main()
