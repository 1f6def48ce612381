"""Trust anchors: versioned bundles per purpose and their staged release to cohorts."""
