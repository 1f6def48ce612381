"""The whole plant: real processes, real TLS, real stations, on one database."""
