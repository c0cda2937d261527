"""What the tests of the operations share.

They run against local machines that an inventory describes and that may be treated roughly:
``pytest molecule/operations/tests --ansible-inventory <path>``.
"""

from __future__ import annotations

from fixtures import client, cluster, firmware, machines, playbooks
