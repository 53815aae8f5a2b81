"""Environments: batched TorchRL envs that yield uint8 ``pixels``; one kind a file."""
