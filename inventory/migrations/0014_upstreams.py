"""Which chargers are relayed to which CSMS; the audit history of that is append-only, like every other."""

import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0013_protocol_variant'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='HistoricalUpstream',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('actor', models.CharField(max_length=150)),
                ('correlation_id', models.CharField(db_index=True, max_length=64)),
                ('name', models.CharField(db_index=True, max_length=60)),
                ('url', models.CharField(blank=True, help_text='wss://host/path; the station id is appended, or takes the place of {station_id}. Empty: these chargers are not relayed.', max_length=400, verbose_name='address')),
                ('enabled', models.BooleanField(default=True)),
                ('when_away', models.CharField(choices=[('stay', 'The charger stays connected'), ('close', 'The charger is let go, and connects again')], default='stay', help_text='What becomes of a charger while the CSMS cannot be reached.', max_length=5, verbose_name='when it is away')),
                ('credential', models.CharField(blank=True, help_text='Name of an entry of BFCERTS_UPSTREAM_CREDENTIALS; empty for none.', max_length=60)),
                ('ca_bundle', models.TextField(blank=True, help_text="PEM certificates that the CSMS's own must chain to; empty: the roots of the gateway's system.", verbose_name='CA bundle')),
                ('notes', models.TextField(blank=True)),
                ('updated_at', models.DateTimeField(blank=True, editable=False)),
                ('history_change_reason', models.TextField(null=True)),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
                ('cohort', models.ForeignKey(blank=True, db_constraint=False, help_text='Only its members; empty: every charger.', null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='inventory.cohort')),
                ('history_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('identity', models.ForeignKey(blank=True, db_constraint=False, help_text='Only this charger.', null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='inventory.managedidentity')),
            ],
            options={
                'verbose_name': 'historical upstream',
                'verbose_name_plural': 'historical upstreams',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name='Upstream',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60, unique=True)),
                ('url', models.CharField(blank=True, help_text='wss://host/path; the station id is appended, or takes the place of {station_id}. Empty: these chargers are not relayed.', max_length=400, verbose_name='address')),
                ('enabled', models.BooleanField(default=True)),
                ('when_away', models.CharField(choices=[('stay', 'The charger stays connected'), ('close', 'The charger is let go, and connects again')], default='stay', help_text='What becomes of a charger while the CSMS cannot be reached.', max_length=5, verbose_name='when it is away')),
                ('credential', models.CharField(blank=True, help_text='Name of an entry of BFCERTS_UPSTREAM_CREDENTIALS; empty for none.', max_length=60)),
                ('ca_bundle', models.TextField(blank=True, help_text="PEM certificates that the CSMS's own must chain to; empty: the roots of the gateway's system.", verbose_name='CA bundle')),
                ('notes', models.TextField(blank=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('cohort', models.ForeignKey(blank=True, help_text='Only its members; empty: every charger.', null=True, on_delete=django.db.models.deletion.PROTECT, to='inventory.cohort')),
                ('identity', models.ForeignKey(blank=True, help_text='Only this charger.', null=True, on_delete=django.db.models.deletion.PROTECT, to='inventory.managedidentity')),
            ],
            options={
                'ordering': ['name'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('enabled', True)), fields=('cohort', 'identity'), name='one_upstream_per_scope', nulls_distinct=False, violation_error_message='Another enabled upstream has the same scope; disable it first.'), models.CheckConstraint(condition=models.Q(('cohort__isnull', True), ('identity__isnull', True), _connector='OR'), name='upstream_for_a_cohort_or_one', violation_error_message='Choose a cohort or one charger, not both.')],
            },
        ),
        migrations.RunSQL(
            "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON inventory_historicalupstream "
            "FOR EACH ROW EXECUTE FUNCTION inventory_append_only(); "
            "CREATE TRIGGER no_truncation BEFORE TRUNCATE ON inventory_historicalupstream "
            "FOR EACH STATEMENT EXECUTE FUNCTION inventory_no_truncation();",
            "DROP TRIGGER append_only ON inventory_historicalupstream; "
            "DROP TRIGGER no_truncation ON inventory_historicalupstream;",
        ),
    ]
