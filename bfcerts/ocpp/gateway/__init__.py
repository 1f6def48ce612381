"""The gateway process: TLS listeners, admission at the door, live connections, and their way to the database."""
