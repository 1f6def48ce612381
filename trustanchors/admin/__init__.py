"""Trust anchors in the console: anchors, bundles, rollouts and installations; what moves one is an action."""

from trustanchors.admin import anchors, bundles, installations, rollouts

__all__ = ["anchors", "bundles", "installations", "rollouts"]
