"""The collections of the API: parse, call one service, present."""
