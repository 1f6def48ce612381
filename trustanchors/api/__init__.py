"""Trust anchors over the API: anchors, bundles, rollouts and installations, with the verbs of their services."""
