"""MonST3R's recordings: those of DUSt3R's network, which it is."""

from __future__ import annotations

from tests.parity_networks.dust3r import replay

__all__ = ["replay"]
