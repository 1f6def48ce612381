"""A stand-in for AWS Private CA that speaks the service's wire protocol on loopback, on top of the local CA."""

from tests.acm_pca.server import AcmPcaServer

__all__ = ["AcmPcaServer"]
