"""What every page of the operator's console shares: its look, its navigation, and how values are shown."""
