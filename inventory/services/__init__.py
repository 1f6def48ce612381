"""The services of the inventory: the rules, each in one place; doors call them."""
