"""Fingerprint of a directory's content."""

from __future__ import annotations

DOCUMENTATION = r"""
name: tree_hash
short_description: Fingerprint of a directory's content
version_added: 0.1.0
author: The airflow-celery-cluster maintainers (@airflow-celery-cluster)
description:
  - Gives a SHA-256 over the relative names, the executable bits and the contents of all files below a directory.
  - Times, owners and empty directories do not count, so two clones of the same commit give the same fingerprint. Nor do
    C(__pycache__), C(.git), and the caches of development tools. Other hidden files do.
  - A symbolic link counts as what it points to. Fails for a link to nothing, or to a directory that contains the link.
options:
  _terms:
    description: Directories on the controller.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ lookup('airflow_celery.cluster.tree_hash', 'dags') }}"
"""

RETURN = r"""
_raw:
  description: One hexadecimal digest for each directory.
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.airflow_celery.cluster.plugins.module_utils.tree import TreeError, tree_hash


class LookupModule(LookupBase):
    """Entry point of the lookup."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str]:
        try:
            return [tree_hash(Path(term)) for term in terms]
        except TreeError as error:
            raise AnsibleLookupError(str(error)) from error
