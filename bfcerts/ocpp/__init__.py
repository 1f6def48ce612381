"""The wire only: the gateway, its connections, the outbox of commands, the inbox of evidence, the adapters."""
