"""The pools over HTTP, with the paths, bodies and errors of OPCP 1.0. No rule lives here."""
