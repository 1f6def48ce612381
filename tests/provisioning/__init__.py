"""Tests of provisioning: cases, evidence, ownership."""
