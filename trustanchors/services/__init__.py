"""Every rule of the Trust Anchor Release Manager; doors call these with an actor and a reason."""
