"""Tests that run the playbooks against inventories, without a machine."""
