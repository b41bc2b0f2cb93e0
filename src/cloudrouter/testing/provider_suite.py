"""The contract of `providers.base` in code: subclass, say how the provider is made, and pytest does the rest.

    class TestMine(ProviderSuite):
        provider_name = "mine"

        @pytest.fixture
        def config(self): return {...}

The machines' image must hold our guest: the suite looks into machines through it.
"""

from __future__ import annotations

from cloudrouter.testing.provider_birth import PROTOCOLS, BirthChecks
from cloudrouter.testing.provider_end import EndChecks
from cloudrouter.testing.provider_ground import Residue
from cloudrouter.testing.provider_life import LifeChecks
from cloudrouter.testing.sidecar_suite import SidecarChecks
from cloudrouter.testing.volume_suite import VolumeChecks

__all__ = ["PROTOCOLS", "ProviderSuite", "Residue"]


class ProviderSuite(BirthChecks, LifeChecks, EndChecks, VolumeChecks, SidecarChecks):
    """Override what stands on top of `provider_ground.Ground`; leave the tests alone."""
