"""Routes of trust anchors; the API joins them."""

from rest_framework.routers import SimpleRouter

from trustanchors.api.views import AnchorViewSet, BundleViewSet, InstallationViewSet, RolloutViewSet

router = SimpleRouter(trailing_slash=False)
router.register("trust-anchors", AnchorViewSet, basename="trust-anchors")
router.register("trust-anchor-bundles", BundleViewSet, basename="trust-anchor-bundles")
router.register("bundle-rollouts", RolloutViewSet, basename="bundle-rollouts")
router.register("bundle-installations", InstallationViewSet, basename="bundle-installations")
urlpatterns = router.urls
