"""Plug and Charge and vehicle provisioning with outside authorities."""
