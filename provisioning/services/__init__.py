"""What provisioning does: cases, their evidence, and who owns what."""
