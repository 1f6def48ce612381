"""Plans that nobody applied lapse, and an overridden forecast is an event."""

from importlib import import_module

from django.db import migrations, models


# The function is made of the table of transitions, as it is now.
_GUARD: str = import_module("inventory.migrations.0019_plans_being_applied").PLAN_GUARD


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0023_renewal_doors'),
    ]

    operations = [
        migrations.AlterField(
            model_name='domainevent',
            name='type',
            field=models.CharField(choices=[('CertificateRequested', 'Certificate Requested'), ('CSRValidated', 'Csr Validated'), ('CSRRejected', 'Csr Rejected'), ('CertificateIssued', 'Certificate Issued'), ('CertificateInstallRequested', 'Certificate Install Requested'), ('CertificateInstalled', 'Certificate Installed'), ('InstallFailed', 'Install Failed'), ('CertificateActivated', 'Certificate Activated'), ('ActivationFailed', 'Activation Failed'), ('CertificateDeactivated', 'Certificate Deactivated'), ('CertificateReactivated', 'Certificate Reactivated'), ('CertificateRenewalStarted', 'Certificate Renewal Started'), ('CertificateRetired', 'Certificate Retired'), ('CertificateRevoked', 'Certificate Revoked'), ('RevocationPropagated', 'Revocation Propagated'), ('CertificateDeleted', 'Certificate Deleted'), ('TrustAnchorReleaseRequested', 'Trust Anchor Release Requested'), ('TrustAnchorInstalled', 'Trust Anchor Installed'), ('TrustAnchorMismatchDetected', 'Trust Anchor Mismatch Detected'), ('TrustAnchorWithdrawn', 'Trust Anchor Withdrawn'), ('MigrationStateChanged', 'Migration State Changed'), ('MigrationQuarantined', 'Migration Quarantined'), ('ProvisioningStateChanged', 'Provisioning State Changed'), ('ProvisioningEvidenceRecorded', 'Provisioning Evidence Recorded'), ('EscalationRaised', 'Escalation Raised'), ('IncidentRaised', 'Incident Raised'), ('AuthorizationKeyGenerated', 'Authorization Key Generated'), ('AuthorizationKeyDelivered', 'Authorization Key Delivered'), ('AuthorizationKeyActivated', 'Authorization Key Activated'), ('AuthorizationKeyFailed', 'Authorization Key Failed'), ('AuthorizationKeyRetired', 'Authorization Key Retired'), ('AuthorizationKeyRevoked', 'Authorization Key Revoked'), ('IdentityAdded', 'Identity Added'), ('IdentityChanged', 'Identity Changed'), ('IdentityEnabled', 'Identity Enabled'), ('IdentityDisabled', 'Identity Disabled'), ('LockOutForecastOverridden', 'Lock Out Forecast Overridden')], max_length=40),
        ),
        migrations.AlterField(
            model_name='historicalplan',
            name='state',
            field=models.CharField(choices=[('preparing', 'Being prepared'), ('planned', 'Planned'), ('applying', 'Being applied'), ('applied', 'Applied'), ('expired', 'Expired'), ('cancelled', 'Cancelled'), ('lapsed', 'Lapsed')], default='preparing', max_length=10),
        ),
        migrations.AlterField(
            model_name='plan',
            name='state',
            field=models.CharField(choices=[('preparing', 'Being prepared'), ('planned', 'Planned'), ('applying', 'Being applied'), ('applied', 'Applied'), ('expired', 'Expired'), ('cancelled', 'Cancelled'), ('lapsed', 'Lapsed')], default='preparing', max_length=10),
        ),
        migrations.RunSQL(_GUARD, migrations.RunSQL.noop),
    ]
