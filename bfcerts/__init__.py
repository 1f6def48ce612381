"""The certificate control plane's project package."""
