"""Machines that are containers on a Docker or Podman engine, behind walls of our own."""

from __future__ import annotations

from cloudrouter.providers.docker.provider import DockerProvider

__all__ = ["DockerProvider"]
